"""Scale, the base class of all rules that place the levels of a set in a tensor."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import make_plain, require_count
from quantlab.scales.placement import Placement

PER = ("tensor", "channel")
"""Parts of a tensor that have levels of their own, apart from blocks."""
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Layers whose weights have input channels along their first axis."""


@dataclass(frozen=True, kw_only=True)
class Scale(ABC):
    """A rule that says where the levels of a quantization set stand in each row of a tensor.

    With a scale, the proximal weights are w = leave(P(enter(w*); rho)), where P is the elementwise
    map of the quantizer and `enter` and `leave` are those of the row's `Placement`. A rule that
    places the levels at s Q gives w = s P(w* / s; rho).

    Subclasses are frozen dataclasses that can be built without arguments. Their methods see rows
    along the last axis, of any number and with any leading axes, and treat every row alone. They
    are pure and do not change their arguments.
    """

    per: str | int = "tensor"
    """What has levels of its own: ``"tensor"`` for every tensor, ``"channel"`` for every index of a
    tensor's first axis (output channels of convolution and linear layers; a tensor of one axis is
    one row, and transposed convolutions are refused), or a number of adjacent weights, which must
    divide every tensor's number of weights."""
    every: int = 1
    """Levels are placed anew in every n-th gradient step, and kept between. The hard weights have
    levels that are placed for the latents at that time, whatever this number. Learned numbers
    require 1."""

    def __post_init__(self) -> None:
        make_plain(self)
        require_count(self, "every", 1)
        if isinstance(self.per, str):
            if self.per not in PER:
                raise ConfigurationError(
                    f"{type(self).__name__}.per = {brief(self.per)}: must be 'tensor', 'channel', "
                    "or a number of adjacent weights"
                )
            return
        require_count(self, "per", 1)

    def row_length(self, shape: torch.Size, name: str) -> int:
        """Return the number of weights of a tensor that share their levels.

        Args:
            shape: shape of the tensor.
            name: name of the parameter, for the message.

        Raises:
            ConfigurationError: if blocks do not divide the tensor.
        """
        size = shape.numel()
        if self.per == "tensor" or (self.per == "channel" and len(shape) < 2):
            return size
        if self.per == "channel":
            return size // shape[0]
        assert isinstance(self.per, int)
        if size % self.per:
            raise ConfigurationError(
                f"{type(self).__name__}.per = {self.per}: must divide the {size:,} weights of "
                f"{name}, of shape {tuple(shape)}; give its layer a group with another scale, or "
                "leave it in full precision with quantization.exclude"
            )
        return self.per

    def require_fits_weight(self, shape: torch.Size, name: str, layer: nn.Module | None) -> None:
        """Check that the rows of a weight are what `per` says, before it is trained.

        Args:
            shape: shape of the weight.
            name: name of the parameter, for the message.
            layer: its layer; None if nobody knows it.

        Raises:
            ConfigurationError: if they are not.
        """
        if self.per == "channel" and isinstance(layer, _TRANSPOSED):
            self._refuse(
                name, shape, f"whose first axis has the input channels of {type(layer).__name__}"
            )

    def _refuse(self, name: str, shape: torch.Size, reason: str) -> NoReturn:
        raise ConfigurationError(
            f"Quantization.scale = {self!r}: does not fit {name}, of shape {tuple(shape)}, "
            f"{reason}; there, it must be None, or a scale with per='tensor' or a number of "
            "adjacent weights, as a WeightGroup may have it"
        )

    def require_fits(self, levels: tuple[float, ...]) -> None:  # noqa: B027 - most rules fit all
        """Check that the rule can place a set.

        Raises:
            ConfigurationError: if it cannot.
        """

    def require_learns_in_every_step(self, levels: tuple[float, ...]) -> None:
        """Check that the rule places its levels in every step if it has learned numbers.

        Raises:
            ConfigurationError: if it does not.
        """
        if self.every != 1 and self.num_learned(levels):
            raise ConfigurationError(
                f"{type(self).__name__}.every = {self.every}: must be 1, because its numbers are "
                "learned in every step"
            )

    def num_stored(self, levels: tuple[float, ...]) -> int:
        """Return how many numbers determine the levels of a row, which count among its bits."""
        return 1

    @abstractmethod
    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels of a set in rows.

        Args:
            latent: (..., k) latent weights, whose last axis is a row.
            levels: the set.
            learned: (..., m) learned numbers of each row; None if the rule has none.
        """

    def num_learned(self, levels: tuple[float, ...]) -> int:
        """Return the number m of learned numbers per row: 0 for a rule that derives its levels."""
        return 0

    def initial(self, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return the learned numbers (..., m) that training starts with.

        Args:
            latent: (..., k) latents of the rows.
            levels: the set.
        """
        return latent.new_empty(*latent.shape[:-1], 0)

    def gradient(
        self,
        gradient: Tensor,
        carried: Tensor,
        latent: Tensor,
        weights: Tensor,
        levels: tuple[float, ...],
        learned: Tensor,
    ) -> Tensor:
        """Return the gradient of the learned numbers, (..., m). A rule that learns overrides it.

        Args:
            gradient: (..., k) gradient of the loss with respect to the weights.
            carried: (..., k) gradient of the latents, which the backward map made of it.
            latent: (..., k) latents.
            weights: (..., k) proximal weights of the forward pass. If they have a share of the
                latents that does not move with the levels, they are without it (see
                `Quantizer.latent_share`).
            levels: the set.
            learned: (..., m) learned numbers.

        Raises:
            NotImplementedError: a rule that learns has not overridden it; `require_scale_contract`
                refuses such a rule before it is trained.
        """
        raise NotImplementedError(
            f"{type(self).__name__} learns numbers but has no gradient; override Scale.gradient"
        )
