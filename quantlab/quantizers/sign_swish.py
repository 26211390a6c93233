"""SignSwish: a smooth sign that overshoots, the forward map of BNN++."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32, finite_sharpness


@dataclass(frozen=True)
class SignSwish(Quantizer):
    """P(w*) = c + h (2 s(x) (1 + x (1 - s(x))) - 1) with x = b (w* - c) and the logistic s.

    c is the middle of the two levels, h half their distance, and the steepness b is the sharpness.
    The map exceeds the upper level by up to 0.2 h, at x = 2.4, and then falls to it. It is
    therefore not monotone, and by Theorem 3.1 of the ProxConnect paper it is the proximal map of no
    regularizer: the paper's convergence results do not apply at a finite b. Its limit is the
    projector.

    Source: ProxConnect++ (arXiv 2402.17710), where the map with its own derivative as backward map
    (`Jacobian`) is BNN++.
    """

    levels: tuple[float, ...] = BINARY

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.levels) != 2:
            raise ConfigurationError(f"SignSwish.levels = {self.levels}: must be two levels")

    @property
    def fixes_levels(self) -> bool:
        """Always false."""
        return False

    @property
    def vanishes_at_zero(self) -> bool:
        """Always true, because the steepness is the sharpness."""
        return True

    @property
    def is_monotone(self) -> bool:
        """Always false."""
        return False

    @property
    def formula(self) -> str:
        """The map with its numbers."""
        return "P(w*) = c + h (2 s(x) (1 + x (1 - s(x))) - 1), x = s (w* - c), logistic s(x)"

    @property
    def _center(self) -> float:
        return (self.levels[0] + self.levels[1]) / 2

    @property
    def _half(self) -> float:
        return (self.levels[1] - self.levels[0]) / 2

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map of the class to `latent`."""
        scaled = _scaled(latent - self._center, sharpness)
        logistic = torch.sigmoid(scaled)
        # sigmoid(-x) is 1 - s(x) without a rounding error that a large x would multiply.
        return self._center + self._half * (
            2 * logistic * (1 + scaled * torch.sigmoid(-scaled)) - 1
        )

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Multiply the gradient by the derivative."""
        slope = sign_swish_derivative(latent - self._center, sharpness)
        return gradient * slope * self._half


def sign_swish_derivative(latent: Tensor, steepness: Sharpness) -> Tensor:
    """Return b (2 - b z tanh(b z / 2)) / (1 + cosh(b z)), the derivative of `SignSwish` on {-1, 1}.

    Args:
        latent: z, of any shape.
        steepness: b. A tensor must broadcast against `latent`.
    """
    scaled = _scaled(latent, steepness)
    # 1 / (1 + cosh(x)) = 2 s(x) s(-x) with the logistic s, which does not overflow.
    bell = 2 * torch.sigmoid(scaled) * torch.sigmoid(-scaled)
    shape = (2 - scaled * torch.tanh(scaled / 2)) * bell
    return shape * finite_sharpness(steepness, latent)


def _scaled(latent: Tensor, steepness: Sharpness) -> Tensor:
    """Return b z within +-500, beyond which the map is at its limits to the last bit."""
    return (latent * finite_sharpness(steepness, latent)).clamp(-500, 500)
