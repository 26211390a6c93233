"""Quantizer, the base class of all proximal maps."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import make_plain
from quantlab.quantization_sets import TERNARY, nearest_level, quantization_set, set_name
from quantlab.scales.placement import Placement

Sharpness: TypeAlias = float | Tensor
"""Value rho_t of the annealing schedule. A tensor is broadcast against the latents, so that each of
several stacked trials can have its own sharpness along a leading axis."""

Self = TypeVar("Self", bound="Quantizer")


def at_least_float32(
    prox: Callable[[Self, Tensor, Sharpness], Tensor],
) -> Callable[[Self, Tensor, Sharpness], Tensor]:
    """Decorate a map to compute float16 and bfloat16 in float32 and to round only the result."""

    @wraps(prox)
    def wrapped(self: Self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        if latent.dtype in (torch.float16, torch.bfloat16):
            return prox(self, latent.float(), sharpness).to(latent.dtype)
        return prox(self, latent, sharpness)

    return wrapped


def finite_sharpness(sharpness: Sharpness, like: Tensor) -> Tensor:
    """Return a sharpness as a tensor of the dtype of `like`, at most its largest number.

    An infinite sharpness times a distance of 0 would be NaN.
    """
    largest = torch.finfo(like.dtype).max
    if isinstance(sharpness, Tensor):
        return sharpness.to(like.dtype).clamp(max=largest)
    return like.new_full((), min(sharpness, largest))


@dataclass(frozen=True)
class Quantizer(ABC):
    """A family of maps P, one per sharpness, that converges to the projector onto Q.

    By Theorem 3.1 of the ProxConnect paper, an elementwise map is proximal if and only if it is
    monotone, compact-valued and has a closed graph. The regularizer itself need not be known.
    Subclasses are frozen dataclasses that can be built without arguments. Their methods are
    elementwise, do not change their arguments and, unless `random`, are pure.

    A map of a lifted space has several latents per weight. They stand along the second to last
    axis, so that latents of shape (..., num_latents, n) belong to weights of shape (..., n). Such a
    map overrides `num_latents`, `lift`, `collapse` and `spread`; its `prox` and `hard` are
    elementwise in the weights.
    """

    levels: tuple[float, ...] = TERNARY
    """The quantization set Q: at least two levels in strictly increasing order. It is empty if Q is
    not bounded (see `is_bounded`)."""

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "levels", quantization_set(self.levels))

    @property
    def annealed(self) -> bool:
        """Whether the map depends on the sharpness."""
        return True

    @property
    def random(self) -> bool:
        """Whether the map draws from torch's default generators. Its mean must then be monotone."""
        return False

    @property
    def fixes_levels(self) -> bool:
        """Whether every level is a fixed point of the map, whatever the sharpness."""
        return True

    @property
    def is_monotone(self) -> bool:
        """Whether the map is nondecreasing, as every elementwise proximal map is."""
        return True

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether the map sends all weights to one number at the sharpness 0."""
        return False

    @property
    def num_latents(self) -> int:
        """The number of latent numbers per weight: 1 except in a lifted space."""
        return 1

    @property
    def placement(self) -> Placement | None:
        """Where a scale has placed the levels; None if they stand where the set says."""
        return None

    @property
    def is_bounded(self) -> bool:
        """Whether Q is `levels`. Otherwise Q has no lowest and no highest level."""
        return True

    @property
    def some_levels(self) -> tuple[float, ...]:
        """Levels around which the map is checked and drawn: all of them, if Q is bounded."""
        return self.levels

    @property
    def set_name(self) -> str:
        """Name of the quantization set in tables."""
        return set_name(self.levels)

    @property
    def formula(self) -> str:
        """The map as readable text of one or more lines, with s for the sharpness."""
        return f"P(w*) = {self!r}"

    @abstractmethod
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the proximal map.

        Args:
            latent: latent weights w*, of any shape and floating dtype.
            sharpness: rho_t >= 0. A tensor must broadcast against `latent`.

        Returns:
            Proximal weights w = P(w*), of the same shape and dtype. They are nondecreasing in w*,
            and NaN stays NaN. In a lifted space, `collapse` makes weights of them.
        """

    def within(self, placement: Placement, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map in rows whose levels a scale has placed.

        The default is ``leave(prox(enter(weights)))``. Another way must have the same images,
        except where `latent_share` says otherwise.

        Args:
            placement: placement of the levels.
            weights: (..., k) latent weights, whose last axis is a row.
            sharpness: see `prox`.
        """
        return placement.leave(self.prox(placement.enter(weights), sharpness))

    def latent_share(self, sharpness: Sharpness) -> Sharpness | None:
        """Return a if `within` is a w* + (1 - a) q with the nearest level q, for every placement.

        If a placement's `leave` is not the inverse of its `enter`, this is another map than
        ``leave(prox(enter(weights)))``, and has other derivatives. None stands for the latter map.
        """
        return None

    def level_share(self, sharpness: Sharpness) -> Sharpness:
        """Return 1 - a for the a of `latent_share`, with as many digits where it is close to 0."""
        share = self.latent_share(sharpness)
        assert share is not None
        return 1 - share

    def unit(self, latent: Tensor) -> Tensor:
        """Return latents in the coordinates of the set, which are their own without a scale."""
        return latent

    def is_inside(self, latent: Tensor) -> Tensor:
        """Return whether each latent is between the outermost levels of its row, or at one."""
        return (latent >= self.levels[0]) & (latent <= self.levels[-1])

    def hard(self, latent: Tensor) -> Tensor:
        """Apply the limit of `prox` for infinite sharpness, the projection P_Q. Ties go up.

        Args:
            latent: latents, or images of `prox`.

        Returns:
            Levels, of the shape of the weights.
        """
        return nearest_level(latent, self.levels)

    def shown_range(self, weights: Tensor) -> tuple[float, float]:
        """Return the lowest and the highest level of a histogram of weights."""
        return self.levels[0], self.levels[-1]

    @at_least_float32
    def weights(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the weights that the network sees: ``collapse(prox(latent, sharpness))``."""
        return self.collapse(self.prox(latent, sharpness))

    def lift(self, weights: Tensor) -> Tensor:
        """Return latents for weights (..., n) that training starts from."""
        return weights

    def collapse(self, proximal: Tensor) -> Tensor:
        """Return the weights (..., n) of an image of `prox`, a linear function of it."""
        return proximal

    def spread(self, gradient: Tensor) -> Tensor:
        """Apply the transpose of `collapse`.

        Args:
            gradient: gradient of the loss with respect to the weights, (..., n).

        Returns:
            Its gradient with respect to the image of `prox`.
        """
        return gradient

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the transposed Jacobian of `weights`, as the chain rule does.

        The default differentiates `weights` by autograd.

        Args:
            gradient: gradient of the loss with respect to the weights, (..., n).
            latent: latents at which the map is differentiated.
            sharpness: see `prox`.

        Returns:
            Gradient with respect to the latents, of their shape.

        Raises:
            ConfigurationError: if `prox` is not differentiable by autograd.
        """
        with torch.enable_grad():
            point = latent.detach().requires_grad_()
            image = self.weights(point, sharpness)
        if not image.requires_grad:
            raise ConfigurationError(
                f"{type(self).__name__}.pullback: prox cannot be differentiated by autograd; "
                "override pullback, or use the backward map StraightThrough()"
            )
        (found,) = torch.autograd.grad(image, point, gradient)
        return found
