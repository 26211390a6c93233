"""HeScales: a network with a constant scale s per layer, whose quantization set is s Q."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.models.base import ScaledLayers
from quantlab.models.weights import called_layers


@dataclass(frozen=True, kw_only=True)
class HeScales(ScaledLayers):
    """Another network, in which the weights W of each layer act as s W.

    The scale is s = sqrt(2 / fan-in), the standard deviation of the initialization of He et al.
    (2015), and is not trained. Biases are not scaled. The state dict is that of the network without
    scales, so that its weights can be loaded. Batch normalization cancels the scale of the layer
    before it, except for the effective learning rate.

    Source: mirror-descent paper, Table 4 ("layerwise scaling"), after McDonnell (2018).
    """

    @property
    def name(self) -> str:
        """Name of the network, followed by "with He scales"."""
        return f"{self.base.name} with He scales"

    def add_scales(self, model: nn.Module) -> None:
        """Add a module ``he_scale`` to each layer."""
        for layer in called_layers(model, self.exclude, type(self).__name__):
            fan_in = layer.get_parameter("weight")[0].numel()
            layer.add_module("he_scale", _Scale(math.sqrt(2 / fan_in)))
            layer.register_forward_pre_hook(_scaled)


class _Scale(nn.Module):
    """The scale of a layer.

    As a buffer it marks the layer as more than a plain one, which packs must not replace.
    """

    factor: Tensor

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.factor


def _scaled(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Scale the inputs instead of the weights: W (s x) = (s W) x, and the bias stays as it is."""
    scaled: Tensor = layer.get_submodule("he_scale")(*inputs)
    return scaled
