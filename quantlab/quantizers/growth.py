"""How a parameter of a quantizer grows with its sharpness, for maps that have several of them.

Such a map takes its recipe's sharpness as a clock: `Linear(rho0=1)` is 1 + t / B, one more each
epoch, and `InversePi(rho0=1)` the theory's 1 / pi_t. Each of its parameters follows that clock by a
law of its own.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import plain
from quantlab.quantizers.base import Sharpness


@dataclass(frozen=True)
class Growth(ABC):
    """A nondecreasing function of the sharpness, >= 0."""

    start: float
    """Value at sharpness 1 (of `Saturating`: before it saturates), >= 0; 0 stays 0 for ever."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = plain(getattr(self, field.name))
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and value >= 0):
                raise ConfigurationError(
                    f"{type(self).__name__}.{field.name} = {value!r}: must be finite and >= 0"
                )
            object.__setattr__(self, field.name, float(value))

    @property
    def limit(self) -> float:
        """For infinite sharpness."""
        return math.inf if self.start else 0.0

    @abstractmethod
    def formula(self) -> str:
        """The law for people, with s for the sharpness."""

    @abstractmethod
    def at(self, sharpness: Sharpness) -> Sharpness:
        """The value; a float for a float, a tensor for a tensor."""


@dataclass(frozen=True)
class Power(Growth):
    """start * sharpness ** exponent; linear with exponent 1."""

    exponent: float = 1.0
    """> 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exponent == 0:
            raise ConfigurationError(f"{type(self).__name__}.exponent = 0.0: must be > 0")

    def formula(self) -> str:
        """``0.12 s^1.5``."""
        power = "" if self.exponent == 1 else f"^{self.exponent:.4g}"
        return f"{self.start:.4g} s{power}" if self.start else "0"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """The power; 0 for start 0, also at infinite sharpness."""
        if not self.start:
            return 0.0
        try:
            return self.start * sharpness**self.exponent
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Saturating(Power):
    """s / (1 + s) with s = start * sharpness ** exponent: 1 in the limit only.

    With it as the vertical shift, a map relaxes as BinaryRelax does (ProxConnect paper, Example
    3.3).
    """

    @property
    def limit(self) -> float:
        """1, if it grows at all."""
        return 1.0 if self.start else 0.0

    def formula(self) -> str:
        """``1 - 1 / (1 + 0.12 s^1.5)``."""
        return f"1 - 1 / (1 + {super().formula()})"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """The saturated power."""
        return 1 - 1 / (1 + super().at(sharpness))


@dataclass(frozen=True)
class Geometric(Growth):
    """start * factor ** (sharpness - 1): the same factor in each unit of the sharpness."""

    factor: float = 1.1
    """> 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor <= 1:
            raise ConfigurationError(f"Geometric.factor = {self.factor}: must be > 1")

    def formula(self) -> str:
        """``0.12 * 1.1^(s - 1)``."""
        return f"{self.start:.4g} * {self.factor:.4g}^(s - 1)" if self.start else "0"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """The power of the factor; infinite where that is beyond all numbers."""
        if not self.start:
            return 0.0
        if isinstance(sharpness, Tensor):
            return self.start * torch.pow(self.factor, sharpness - 1)
        exponent = (sharpness - 1) * math.log(self.factor)
        return self.start * math.exp(exponent) if exponent < 700 else math.inf


def takes_a_clock(quantizer: object) -> bool:
    """Whether parameters of a map follow its sharpness by laws of their own.

    The rho0 of its schedule then says how fast the clock goes, and nothing of how far weights move.

    Args:
        quantizer: a map, or a part of one.
    """
    if isinstance(quantizer, Growth):
        return True
    if isinstance(quantizer, tuple):
        return any(map(takes_a_clock, quantizer))
    if not is_dataclass(quantizer) or isinstance(quantizer, type):
        return False
    return any(takes_a_clock(getattr(quantizer, field.name)) for field in fields(quantizer))
