"""FanIn: the constant scale sqrt(2 / fan-in) of every layer."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError, brief
from quantlab.scales.base import Scale
from quantlab.scales.placement import Placement, Proportional


@dataclass(frozen=True, kw_only=True)
class FanIn(Scale):
    """s = sqrt(2 / n) with n inputs per output: the standard deviation of He et al. (2015).

    The scale is the same in all channels of a layer, and nothing of it needs to be stored. It is
    the "layerwise scaling" of the mirror-descent paper's Table 4, after McDonnell (2018). Unlike
    `HeScales`, which multiplies a layer's weights after the map, it changes the range of the
    latents: with the same networks, latents here are s times as large.

    n is the number of weights at an index of the first axis, as convolution and linear layers have
    their outputs there. Of an embedding that is quantized, it is the length of a vector. Tensors of
    one axis and transposed convolutions are refused.
    """

    per: str | int = "channel"
    """Always ``"channel"``, because a row must have the inputs of one output."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per != "channel":
            raise ConfigurationError(
                f"FanIn.per = {brief(self.per)}: must be 'channel', because the scale is "
                "determined by the number of weights of an output channel"
            )

    def require_fits_weight(self, shape: torch.Size, name: str, layer: nn.Module | None) -> None:
        """Check that the first axis is that of the outputs, and that there are others."""
        super().require_fits_weight(shape, name, layer)
        if len(shape) < 2:
            self._refuse(name, shape, "which has no inputs per output")

    def num_stored(self, levels: tuple[float, ...]) -> int:
        """Return 0, because the shape of the weights determines the scale."""
        return 0

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at s Q."""
        scale = latent.new_full((*latent.shape[:-1], 1), math.sqrt(2 / latent.shape[-1]))
        return Proportional(scale, scale)
