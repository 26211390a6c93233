"""LearnedScales: a network with a learned scale s per layer, whose quantization set is s Q."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.models.base import ScaledLayers
from quantlab.models.weights import called_layers


@dataclass(frozen=True, kw_only=True)
class LearnedScales(ScaledLayers):
    """Another network with a learned scale for each convolution and linear layer.

    The output of a layer is multiplied by its scale s, so that weights in the set Q act as weights
    in s Q. The proximal maps are those of Q. A scale is initialized with 1 and trained like a bias,
    also after hard quantization. Batch normalization cancels the scale of the layer before it, so
    that scales matter for the other layers, and for the effective learning rate.

    Pretrained weights of the network without scales cannot be loaded.
    """

    @property
    def name(self) -> str:
        """Name of the network, followed by "with scales"."""
        return f"{self.base.name} with scales"

    def add_scales(self, model: nn.Module) -> None:
        """Add a module ``scale`` to each layer."""
        for layer in called_layers(model, self.exclude, type(self).__name__):
            layer.add_module("scale", _Scale())
            layer.register_forward_hook(_scaled)


class _Scale(nn.Module):
    """The scale of a layer. As a module of its own it marks the layer as more than a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, output: Tensor) -> Tensor:
        return output * self.factor


def _scaled(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    scaled: Tensor = layer.get_submodule("scale")(output)
    return scaled
