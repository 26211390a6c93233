"""Growth laws: how each parameter of a quantizer grows with the sharpness.

Quantizers with several parameters use the recipe's sharpness s as a common clock: `Linear(rho0=1)`
is 1 + t / B, which grows by one per epoch, and `InversePi(rho0=1)` is the theory's 1 / pi_t. Each
parameter is a function of this clock.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from quantlab.plain_values import require_number
from quantlab.quantizers.base import Sharpness


@dataclass(frozen=True)
class Growth(ABC):
    """A nondecreasing function of the sharpness s with values >= 0."""

    start: float
    """Value at s = 1, >= 0; for `Saturating`, the value before saturation. With 0, the function is
    constantly 0."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, float(require_number(self, field.name)))

    @property
    def limit(self) -> float:
        """The value for infinite sharpness."""
        return math.inf if self.start else 0.0

    @abstractmethod
    def formula(self) -> str:
        """Return the law as readable text, with s for the sharpness."""

    @abstractmethod
    def at(self, sharpness: Sharpness) -> Sharpness:
        """Return the value at a sharpness: a float for a float, a tensor for a tensor."""


@dataclass(frozen=True)
class Power(Growth):
    """start * s ** exponent, which is linear for exponent 1."""

    exponent: float = 1.0
    """Exponent of the sharpness, > 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "exponent", exclusive=True)

    def formula(self) -> str:
        """Return text such as ``0.12 s^1.5``."""
        power = "" if self.exponent == 1 else f"^{self.exponent:.4g}"
        return f"{self.start:.4g} s{power}" if self.start else "0"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """Return the power. It is 0 for start 0, also at infinite sharpness."""
        if not self.start:
            return 0.0
        try:
            return self.start * sharpness**self.exponent
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Saturating(Power):
    """x / (1 + x) with x = start * s ** exponent. The value tends to 1.

    As the vertical shift of `Knots`, it gives the relaxation of BinaryRelax (ProxConnect paper,
    Example 3.3).
    """

    @property
    def limit(self) -> float:
        """The value for infinite sharpness: 1, or 0 for start 0."""
        return 1.0 if self.start else 0.0

    def formula(self) -> str:
        """Return text such as ``1 - 1 / (1 + 0.12 s^1.5)``."""
        return f"1 - 1 / (1 + {super().formula()})"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """Return the saturated power."""
        return saturated(super().at(sharpness))


@dataclass(frozen=True)
class Geometric(Growth):
    """start * factor ** (s - 1): growth by the same factor per unit of the sharpness."""

    factor: float = 1.1
    """Factor per unit of the sharpness, > 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "factor", least=1, exclusive=True)

    def formula(self) -> str:
        """Return text such as ``0.12 * 1.1^(s - 1)``."""
        return f"{self.start:.4g} * {self.factor:.4g}^(s - 1)" if self.start else "0"

    def at(self, sharpness: Sharpness) -> Sharpness:
        """Return the power. It is infinite where it exceeds the range of floats."""
        if not self.start:
            return 0.0
        if isinstance(sharpness, Tensor):
            return self.start * torch.pow(self.factor, sharpness - 1)
        exponent = (sharpness - 1) * math.log(self.factor)
        return self.start * math.exp(exponent) if exponent < 700 else math.inf


def saturated(strength: Sharpness) -> Sharpness:
    """Return x / (1 + x) for x >= 0, which is 1 for infinite x.

    Args:
        strength: x. The result is as exact for small x as for large ones.
    """
    if isinstance(strength, Tensor):
        return torch.where(strength.isinf(), 1.0, strength / (1 + strength))
    # The other form, whose last digit may differ, cancels for small numbers.
    return strength / (1 + strength) if strength < _SMALL else 1 - 1 / (1 + strength)


_SMALL = 2.0**-20


def takes_a_clock(quantizer: object) -> bool:
    """Whether parameters of a quantizer follow the sharpness by growth laws.

    The rho0 of the schedule then sets the speed of the clock, not how far weights are moved.

    Args:
        quantizer: a quantizer, or a part of one.
    """
    if isinstance(quantizer, Growth):
        return True
    if isinstance(quantizer, tuple):
        return any(map(takes_a_clock, quantizer))
    if not is_dataclass(quantizer) or isinstance(quantizer, type):
        return False
    return any(takes_a_clock(getattr(quantizer, field.name)) for field in fields(quantizer))
