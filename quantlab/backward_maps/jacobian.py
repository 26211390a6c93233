"""The Jacobian of the forward map, as the chain rule has it, and what PMF uses in its place."""

from dataclasses import dataclass

from torch import Tensor

from quantlab.backward_maps.base import BackwardMap
from quantlab.errors import ConfigurationError
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantizers.base import Quantizer, Sharpness


@dataclass(frozen=True)
class Jacobian(BackwardMap):
    """The transposed Jacobian of the forward map, as the chain rule has it.

    With `ShiftedTanh` it is GD-tanh, with `Softmax` proximal mean-field (PMF), with `SignSwish`
    BNN++. Source: mirror-descent paper, equation (1) and section 5.
    """

    @property
    def annealed(self) -> bool:
        """Always false, because only the quantizer depends on the sharpness."""
        return False

    def require_fits(self, quantizer: Quantizer) -> None:
        """Check that the quantizer is not random: its derivative would be that of another draw."""
        if quantizer.random:
            raise ConfigurationError(
                f"Quantization.backward = {self!r}: the quantizer must not be random, because the "
                f"derivative would be that of another draw, but {type(quantizer).__name__} is"
            )

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return `Quantizer.pullback`."""
        return quantizer.pullback(gradient, latent, sharpness)


@dataclass(frozen=True)
class SoftmaxShortcut(BackwardMap):
    """beta (I - u u^T) instead of the Jacobian beta (diag(u) - u u^T) of `Softmax`.

    It is what the code of proximal mean-field (PMF) computes. Unlike the Jacobian, it does not
    vanish where the probabilities are close to 0 and 1.
    """

    @property
    def annealed(self) -> bool:
        """Always false, because only the quantizer depends on the sharpness."""
        return False

    def require_fits(self, quantizer: Quantizer) -> None:
        """Check that the quantizer is a `Softmax`."""
        if not isinstance(quantizer, Softmax):
            raise ConfigurationError(
                f"Quantization.backward = SoftmaxShortcut(): the quantizer must be Softmax, but is "
                f"{type(quantizer).__name__}"
            )

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return beta (I - u u^T) q g."""
        assert isinstance(quantizer, Softmax)
        u = quantizer.prox(latent, sharpness)
        spread = quantizer.spread(gradient)
        along = u * (u * spread).sum(dim=-2, keepdim=True)
        return (spread - along) * quantizer.steepness(sharpness, latent)
