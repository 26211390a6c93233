"""MirrorMap, the base class of projections that have an inverse."""

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from quantlab.plain_values import require_number
from quantlab.quantizers.base import Quantizer, Sharpness, finite_sharpness


@dataclass(frozen=True)
class MirrorMap(Quantizer):
    """A strictly monotone projection P from the dual space onto the inside of conv(Q).

    Its inverse is the gradient of a mirror map Phi, and mirror descent is a gradient step in the
    dual space: P^-1(w') = P^-1(w) - lr g(w). Storing the latents P^-1(w) therefore makes the update
    rule `PROX_CONNECT` an implementation of mirror descent. Source: mirror-descent paper, Theorem
    1, equations (4), (5) and (23).

    The steepness beta of the projection is the sharpness, or the field `beta`. With annealed beta
    there are two methods. The stable form (MD-tanh-s, MD-softmax-s) has ``beta=None``, so that the
    sharpness rescales all that has been accumulated. Mirror descent with the mirror map Phi / beta
    (MD-tanh, equation (15); MD-softmax, equation (20)) has ``beta=1.0`` and the annealed beta as
    `Quantization.step_scale`. They agree only if beta is constant.

    Levels are limits of the map, not fixed points. The network becomes quantized as beta grows, or
    by the final projection.
    """

    beta: float | None = None
    """Steepness of the projection, > 0; None for the sharpness of the step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None:
            beta = float(require_number(self, "beta", exclusive=True))
            object.__setattr__(self, "beta", beta)

    @property
    def annealed(self) -> bool:
        """Whether the steepness is the sharpness."""
        return self.beta is None

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether the steepness is the sharpness."""
        return self.beta is None

    @property
    def fixes_levels(self) -> bool:
        """Always false."""
        return False

    def steepness(self, sharpness: Sharpness, like: Tensor) -> Tensor:
        """Return beta as a tensor of the dtype of `like`. Infinity becomes the largest number."""
        return finite_sharpness(sharpness if self.beta is None else self.beta, like)

    @abstractmethod
    def inverse(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return P^-1, the gradient of the mirror map.

        Args:
            proximal: image of `prox`; infinite latents belong to the boundary of conv(Q).
            sharpness: see `prox`; it is not used if `beta` is given.
        """

    @abstractmethod
    def potential(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return the mirror map Phi of every weight, up to a constant.

        The arguments are those of `inverse`.
        """

    def bregman(self, first: Tensor, second: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return the Bregman divergence D(first, second) of every weight, >= 0.

        Source: mirror-descent paper, Definition 2.

        Args:
            first: image of `prox`.
            second: image of `prox`, not on the boundary.
            sharpness: see `inverse`.
        """
        slope = self.inverse(second, sharpness) * (first - second)
        return (
            self.potential(first, sharpness)
            - self.potential(second, sharpness)
            - (slope if self.num_latents == 1 else slope.sum(dim=-2))
        )
