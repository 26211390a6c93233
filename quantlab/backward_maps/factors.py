"""Elementwise factors of gradients, as in the cases of ProxConnect++ (arXiv 2402.17710)."""

from dataclasses import dataclass

from torch import Tensor

from quantlab.backward_maps.base import Factor
from quantlab.plain_values import require_number
from quantlab.quantizers.base import Sharpness, finite_sharpness
from quantlab.quantizers.sign_swish import sign_swish_derivative


@dataclass(frozen=True)
class ClippedIdentity(Factor):
    """1 where |w*| <= bound, else 0: the clipped straight-through estimator of BNN."""

    bound: float = 1.0
    """Bound of the latents, > 0."""

    def __post_init__(self) -> None:
        bound = float(require_number(self, "bound", exclusive=True))
        object.__setattr__(self, "bound", bound)

    @property
    def annealed(self) -> bool:
        """Always false."""
        return False

    def factor(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return 1 or 0 for every weight."""
        return (latent.abs() <= self.bound).to(latent.dtype)


@dataclass(frozen=True)
class SignSwishDerivative(Factor):
    """b (2 - x tanh(x / 2)) / (1 + cosh(x)) with x = b w*: the derivative of `SignSwish`.

    With `Nearest` on {-1, 1} it is BNN+.
    """

    steepness: float | None = None
    """Steepness b > 0; None for the sharpness of the step."""

    def __post_init__(self) -> None:
        if self.steepness is not None:
            steepness = float(require_number(self, "steepness", exclusive=True))
            object.__setattr__(self, "steepness", steepness)

    @property
    def annealed(self) -> bool:
        """Whether the steepness is the sharpness."""
        return self.steepness is None

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether the steepness is the sharpness."""
        return self.steepness is None

    def factor(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the derivative."""
        return sign_swish_derivative(
            latent, sharpness if self.steepness is None else self.steepness
        )


@dataclass(frozen=True)
class BiReal(Factor):
    """2 - 2 |w*| where |w*| < 1, else 0: the derivative of a piecewise quadratic sign (Bi-Real)."""

    @property
    def annealed(self) -> bool:
        """Always false."""
        return False

    def factor(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the factor."""
        return (2 - 2 * latent.abs()).clamp_(min=0)


@dataclass(frozen=True)
class ReSTE(Factor):
    """|w*|^(1/o - 1) / o where it is below `cap`, else the cap, with o the sharpness but >= 1.

    It is the derivative of sign(w*) |w*|^(1/o), which tends to the sign as o grows. With o = 1 it
    is the straight-through estimator.
    """

    cap: float = 10.0
    """Largest factor, > 0. The derivative is infinite at 0."""

    def __post_init__(self) -> None:
        cap = float(require_number(self, "cap", exclusive=True))
        object.__setattr__(self, "cap", cap)

    def factor(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the factor."""
        order = finite_sharpness(sharpness, latent).clamp(min=1)
        # 0^(1/o - 1) is infinite unless o is 1.
        return (latent.abs().pow(1 / order - 1) / order).clamp_(max=self.cap)
