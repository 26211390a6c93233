"""Elementwise factors of gradients.

Most are cases of ProxConnect++ (arXiv 2402.17710); `InsideLevels` and `LevelMagnitude` are those of
learned levels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.backward_maps.base import BackwardMap, Factor, require_one_latent
from quantlab.plain_values import require_number
from quantlab.quantizers.base import Quantizer, Sharpness, finite_sharpness
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


@dataclass(frozen=True)
class InsideLevels(BackwardMap):
    """1 from the lowest to the highest level of the weight's row, else 0.

    It is the gradient of clipping to the levels, which learned step size quantization (LSQ, ICLR
    2020, equation (5)) takes for that of rounding. Without a scale, the levels are those of the
    set. On an unbounded set, it is 1 everywhere.
    """

    @property
    def annealed(self) -> bool:
        """Always false."""
        return False

    def require_fits(self, quantizer: Quantizer) -> None:
        """Check that the quantizer has one latent per weight."""
        require_one_latent(self, quantizer)

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return the gradient where the latent is between the outermost levels, else 0."""
        if not quantizer.is_bounded:
            return gradient
        return gradient * quantizer.is_inside(latent)


@dataclass(frozen=True)
class LevelMagnitude(BackwardMap):
    """|q|, where q is the level that the weight is projected onto, but 1 where q is 0.

    With the scale `TrainedTernary`, it is the factor W_p, 1 or W_n of trained ternary quantization
    (TTQ, ICLR 2017). Without a scale, the levels are those of the set.
    """

    @property
    def annealed(self) -> bool:
        """Always false."""
        return False

    def require_fits(self, quantizer: Quantizer) -> None:
        """Check that the quantizer has one latent per weight."""
        require_one_latent(self, quantizer)

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return the product of gradient and factor."""
        size = quantizer.hard(latent).abs()
        return gradient * torch.where(size == 0, 1, size)
