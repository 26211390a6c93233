"""The base classes of backward maps, and the straight-through estimator."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.quantizers.base import Quantizer, Sharpness


@dataclass(frozen=True)
class BackwardMap(ABC):
    """A linear map of gradients, which may depend on the latents and on the sharpness.

    Subclasses are frozen dataclasses. `apply` is elementwise in the weights, pure, and does not
    change its arguments.
    """

    @property
    def annealed(self) -> bool:
        """Whether the map itself depends on the sharpness.

        If neither the map nor the quantizer does, `apply` receives the sharpness 0.
        """
        return True

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether the map sends all gradients to 0 at the sharpness 0."""
        return False

    def require_fits(self, quantizer: Quantizer) -> None:  # noqa: B027 - most maps fit all
        """Check that the map can be used with a quantizer.

        Raises:
            ConfigurationError: if it cannot.
        """

    @abstractmethod
    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return the gradient with which the base optimizer updates the latents.

        Args:
            gradient: gradient of the loss with respect to the weights, (..., n).
            latent: latents at the beginning of the step; see `Quantizer` for their shape.
            sharpness: rho_t of the step. A tensor must broadcast against `latent`.
            quantizer: quantizer of the weights.
        """


@dataclass(frozen=True)
class StraightThrough(BackwardMap):
    """B = 1: the gradient at the weights is that of the latents.

    In a lifted space it is the gradient with respect to the probabilities u, which is q_k g.
    """

    @property
    def annealed(self) -> bool:
        """Always false."""
        return False

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return the gradient."""
        return quantizer.spread(gradient)


@dataclass(frozen=True)
class Factor(BackwardMap):
    """A factor for every weight, which depends on its latent: B(w*) g = factor(w*) g.

    Source: ProxConnect++ (arXiv 2402.17710), where B is a backward quantizer.
    """

    def require_fits(self, quantizer: Quantizer) -> None:
        """Check that the quantizer has one latent per weight."""
        require_one_latent(self, quantizer)

    @abstractmethod
    def factor(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the factor of every weight, of the shape of `latent`.

        Args:
            latent: latents; with a scale, in the coordinates of the set.
            sharpness: see `apply`.
        """

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        """Return the product of gradient and factor."""
        return gradient * self.factor(quantizer.unit(latent), sharpness)


def require_one_latent(backward: BackwardMap, quantizer: Quantizer) -> None:
    """Check that a quantizer has one latent per weight, for a map that needs it.

    Raises:
        ConfigurationError: if it has several.
    """
    if quantizer.num_latents != 1:
        raise ConfigurationError(
            f"Quantization.backward = {backward!r}: the quantizer must have one "
            f"latent per weight, but {type(quantizer).__name__} has {quantizer.num_latents}"
        )
