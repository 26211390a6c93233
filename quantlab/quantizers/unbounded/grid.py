"""Deterministic and stochastic rounding to the unbounded grid of all multiples of a resolution."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from quantlab.plain_values import make_plain, require_number
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32

_SHOWN = 20
"""Number of levels on each side of 0 in a histogram, whose 41 bins then have one level each."""


@dataclass(frozen=True)
class GridRounding(Quantizer):
    """Rounding to Q = {k Delta}, k = ..., -1, 0, 1, ...

    No weight is clipped, and `levels` is empty. Every level is a fixed point of the map, and NaN
    and infinite weights stay what they are.
    """

    levels: tuple[float, ...] = field(init=False, repr=False, default=())
    resolution: float = 1.0
    """Distance Delta > 0 of adjacent levels."""

    def __post_init__(self) -> None:
        make_plain(self)
        resolution = require_number(self, "resolution", exclusive=True)
        object.__setattr__(self, "resolution", float(resolution))

    @property
    def annealed(self) -> bool:
        """Always false, because the map depends on w* only."""
        return False

    @property
    def is_bounded(self) -> bool:
        """Always false."""
        return False

    @property
    def some_levels(self) -> tuple[float, ...]:
        """The levels -Delta, 0 and Delta."""
        return (-self.resolution, 0.0, self.resolution)

    @property
    def set_name(self) -> str:
        """Name of the set in tables: ``grid 0.1``."""
        return f"grid {self.resolution:g}"

    def shown_range(self, weights: Tensor) -> tuple[float, float]:
        """Return the range of a histogram: 20 levels on each side of 0.

        It is doubled until it contains all weights.
        """
        high = _SHOWN * self.resolution
        largest = float(weights.detach().nan_to_num().abs().max()) if weights.numel() else 0.0
        if largest > high:
            high *= 2.0 ** math.ceil(math.log2(largest / high))
        return -high, high

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return a level for every entry; `sharpness` is ignored."""
        return self._rounded(latent, self._goes_up(latent))

    def hard(self, latent: Tensor) -> Tensor:
        """Return the nearest level. A tie goes up."""
        if latent.dtype in (torch.float16, torch.bfloat16):
            return self.hard(latent.float()).to(latent.dtype)
        return self._rounded(latent, 0.5)

    @abstractmethod
    def _goes_up(self, latent: Tensor) -> float | Tensor:
        """Return the part of a gap from which on a weight in it goes up."""

    def _rounded(self, latent: Tensor, threshold: float | Tensor) -> Tensor:
        latent = latent.detach()
        place = latent / self.resolution
        below = place.floor()
        rounded = (below + (place - below >= threshold).to(latent.dtype)) * self.resolution
        # The place of a level need not be a whole number in floating-point arithmetic.
        is_level = place.round() * self.resolution == latent
        return torch.where(is_level, latent, rounded)


@dataclass(frozen=True)
class NearestOnGrid(GridRounding):
    """P(w*) = Delta floor(w* / Delta + 1/2), deterministic rounding: the projector onto the grid.

    A tie goes up. Steps of less than Delta / 2 that start from w are lost.
    """

    def _goes_up(self, latent: Tensor) -> float:
        return 0.5


@dataclass(frozen=True)
class StochasticOnGrid(GridRounding):
    """P(w*) = Delta (k + 1) with probability w* / Delta - k, else Delta k; k = floor(w* / Delta).

    The mean is w*, and the variance is (w* - Delta k)(Delta (k + 1) - w*). Random numbers come from
    torch's default generator of the latent's device.

    Source: the appendix of "Training Quantized Nets" (equation (6), Lemma 1).
    """

    @property
    def random(self) -> bool:
        """Always true."""
        return True

    def _goes_up(self, latent: Tensor) -> Tensor:
        return 1 - torch.rand_like(latent)
