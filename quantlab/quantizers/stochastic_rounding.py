"""Stochastic rounding: a random choice of the two adjacent levels, unbiased within the range."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.scales.placement import Placement, between


@dataclass(frozen=True)
class StochasticRounding(Quantizer):
    """P(w*) = q_{k+1} with probability (w* - q_k) / (q_{k+1} - q_k), else q_k.

    The mean is w* clipped to [q_1, q_b], and the variance is (w* - q_k)(q_{k+1} - w*). With a
    scale, the q are the levels of the row; with `TrainedTernary`, w* is leave(enter(w*)) here.
    Every value is in Q for every sharpness. On {-1, 1} the map is BinaryConnect's stochastic
    quantizer with the hard sigmoid. Random numbers come from torch's default generator of the
    latent's device.

    Source: the appendix of "Training Quantized Nets" (equation (6), Lemma 1), generalized to levels
    at any distance; ProxConnect paper, section 2 and Theorem 3.2.
    """

    @property
    def annealed(self) -> bool:
        """Always false, because the probabilities depend on w* only."""
        return False

    @property
    def random(self) -> bool:
        """Always true."""
        return True

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Draw a level for every entry; `sharpness` is ignored."""
        levels = latent.new_tensor(self.levels)
        inside = latent.clamp(levels[0], levels[-1])
        below = torch.bucketize(inside.contiguous(), levels[1:-1], right=True)
        low, high = levels[below], levels[below + 1]
        return _drawn(inside, low, high)

    def within(self, placement: Placement, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Draw levels of the rows, with probabilities that are linear in the weights."""
        if placement.keeps_middles or not placement.is_inverse:
            return super().within(placement, weights, sharpness)
        # The coordinates of the set are bent at thresholds, and the mean would be, too.
        levels = placement.levels(self.levels)
        inside = weights.detach().clamp(levels[..., :1], levels[..., -1:])
        inner = levels[..., 1:-1]
        low, high = (between(inside, inner, own) for own in (levels[..., :-1], levels[..., 1:]))
        return _drawn(inside, low, high)


def _drawn(inside: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return one of the levels around each entry. NaN stays NaN."""
    up = torch.rand_like(inside) < (inside - low) / (high - low)
    return torch.where(inside.isnan(), inside, torch.where(up, high, low))
