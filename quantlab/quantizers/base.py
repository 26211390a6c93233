"""What a quantizer is: a proximal map with a sharpness, and its hard limit."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from quantlab.plain_values import make_plain
from quantlab.quantization_sets import TERNARY, nearest_level, quantization_set

Sharpness: TypeAlias = float | Tensor
"""rho_t of the annealing schedule. A tensor broadcasts against the weights: with a leading axis,
each of several stacked trials has its own."""

Self = TypeVar("Self", bound="Quantizer")


def at_least_float32(
    prox: Callable[[Self, Tensor, Sharpness], Tensor],
) -> Callable[[Self, Tensor, Sharpness], Tensor]:
    """Make a map compute float16 and bfloat16 in float32 and round once, at the end."""

    @wraps(prox)
    def wrapped(self: Self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        if latent.dtype in (torch.float16, torch.bfloat16):
            return prox(self, latent.float(), sharpness).to(latent.dtype)
        return prox(self, latent, sharpness)

    return wrapped


@dataclass(frozen=True)
class Quantizer(ABC):
    """A family of proximal maps P, one for each sharpness, that tends to the projector onto Q.

    By Theorem 3.1 of the ProxConnect paper, an elementwise map is proximal if and only if it is
    monotone, compact-valued and has a closed graph; no underlying regularizer need be known.
    Subclasses are frozen dataclasses that can be built without arguments; their methods are
    elementwise, never work in place and, unless `random`, are pure.
    """

    levels: tuple[float, ...] = TERNARY
    """The quantization set Q, strictly increasing, at least two levels."""

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "levels", quantization_set(self.levels))

    @property
    def annealed(self) -> bool:
        """Whether the map depends on its sharpness at all."""
        return True

    @property
    def random(self) -> bool:
        """Whether the map draws from torch's default generators; its mean is then monotone."""
        return False

    @property
    def formula(self) -> str:
        """The map for people, in one or more lines, with s for the sharpness."""
        return f"P(w*) = {self!r}"

    @abstractmethod
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """The proximal map.

        Args:
            latent: w*, any shape and floating dtype.
            sharpness: rho_t >= 0; a tensor must broadcast against `latent`.

        Returns:
            w = P(w*), same shape and dtype, nondecreasing in w*; NaN stays NaN.
        """

    def hard(self, latent: Tensor) -> Tensor:
        """The limit of `prox` for infinite sharpness: the projection P_Q, a tie going up."""
        return nearest_level(latent, self.levels)
