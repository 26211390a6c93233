"""Tanh: a smooth map between adjacent levels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.quantization_sets import constant, set_name
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.growth import Growth, Power

_DEFAULT = Power(1.0)
_SMALLEST, _LARGEST = 1e-6, 1e9


@dataclass(frozen=True)
class Tanh(Quantizer):
    """P(w*) = p + h tanh(beta (w* - p) / h) / tanh(beta) in a gap with middle p and half-width h.

    The map is a proximal map with the levels as fixed points. It resembles the tanh projections of
    the mirror-descent paper, equations (12) and (21), but is not one of them: it clips w* to
    [q_1, q_b], divides by tanh(beta), and measures beta in half-gaps, so that on {-1, 0, 1} it is
    as steep as the paper's map at twice its beta. `ShiftedTanh` is the paper's map. With beta = 0
    this map clips. In the limit it is the projector, which replaces it for beta >= 1e9. The middle
    of a gap is a fixed point, except in the projector, where it goes up.
    """

    beta: Growth = _DEFAULT
    """Growth law of beta, the steepness at the middle of a gap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.beta, Growth) or self.beta.limit < math.inf:
            raise ConfigurationError(
                f"Tanh.beta = {self.beta!r}: must be a Growth that is unbounded, such as "
                "Power(1.0), so that the map converges to the projector"
            )

    @property
    def formula(self) -> str:
        """The map with its numbers."""
        return (
            "P(w*) = p + h tanh(beta (w* - p) / h) / tanh(beta) in a gap with middle p and "
            f"half-width h, of {set_name(self.levels)} levels\nbeta = {self.beta.formula()}"
        )

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map of the class to `latent`."""
        inside = latent.detach().clamp(self.levels[0], self.levels[-1])
        levels = constant(self.levels, inside.dtype, inside.device)
        # The last gap keeps its upper end.
        place = torch.bucketize(inside.contiguous(), levels[1:-1], right=True)
        low, high = levels[place], levels[place + 1]
        half = (high - low) / 2
        offset = (inside - low) / half - 1
        beta = self.beta.at(sharpness)
        beta = beta.to(inside.dtype) if isinstance(beta, Tensor) else inside.new_full((), beta)
        # Below _SMALLEST, tanh is the identity to the last bit. From _LARGEST on, the map is the
        # projector, except for entries that hardly differ from the middle.
        small = beta < _SMALLEST
        safe = torch.where(small, 1.0, beta)
        curved = torch.where(small, offset, torch.tanh(safe * offset) / torch.tanh(safe))
        image = low + half * (1 + curved)
        # Rounding must not take a level off its place.
        image = torch.where(inside == low, low, torch.where(inside == high, high, image))
        return torch.where(beta >= _LARGEST, self.hard(latent), image)
