"""BinaryRelax: a convex combination of the identity and the projector."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.growth import saturated
from quantlab.scales.placement import Placement


@dataclass(frozen=True)
class BinaryRelax(Quantizer):
    """P(w*) = (w* + mu P_Q(w*)) / (1 + mu), with the sharpness as mu.

    Source: ProxConnect paper, Example 3.3; Table 1 lists the map as BinaryRelax. Sharpness 0 gives
    the identity and infinite sharpness the projector. Weights outside [q_1, q_b] are not clipped.
    Within this range the map equals L_0^varrho with varrho = mu / (1 + mu) of each half-gap. A tie
    goes up.
    """

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Interpolate between `latent` and its projection with weight mu / (1 + mu)."""
        return _towards(latent, self.hard(latent), sharpness)

    def within(self, placement: Placement, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Interpolate between weights and the nearest levels of their rows."""
        return _towards(weights, placement.nearest(weights, self.levels), sharpness)

    def latent_share(self, sharpness: Sharpness) -> Sharpness:
        """Return 1 / (1 + mu)."""
        return 1 / (1 + sharpness)

    def level_share(self, sharpness: Sharpness) -> Sharpness:
        """Return mu / (1 + mu)."""
        return saturated(sharpness)


def _towards(latent: Tensor, nearest: Tensor, sharpness: Sharpness) -> Tensor:
    if isinstance(sharpness, Tensor):
        return torch.lerp(latent, nearest, torch.as_tensor(saturated(sharpness)).to(latent.dtype))
    if math.isinf(sharpness):
        return nearest
    return torch.lerp(latent, nearest, sharpness / (1 + sharpness))
