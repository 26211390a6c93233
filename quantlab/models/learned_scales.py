"""LearnedScales: a network with a learned scale s per layer, whose quantization set is s Q."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.models.base import ModelSpec
from quantlab.models.weights import called_layers
from quantlab.tasks.dimensions import Dimensions


@dataclass(frozen=True, kw_only=True)
class LearnedScales(ModelSpec):
    """Another network with a learned scale for each convolution and linear layer.

    The output of a layer is multiplied by its scale s, so that weights in the set Q act as weights
    in s Q. The proximal maps are those of Q. A scale is initialized with 1 and trained like a bias,
    also after hard quantization. Batch normalization cancels the scale of the layer before it, so
    that scales matter for the other layers, and for the effective learning rate.

    Pretrained weights of the network without scales cannot be loaded.
    """

    base: ModelSpec
    """The network without scales."""
    exclude: tuple[str, ...] = ()
    """Module types and patterns of layers without a scale; see `Quantization.exclude`."""

    @property
    def name(self) -> str:
        """Name of the network, followed by "with scales"."""
        return f"{self.base.name} with scales"

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the network without scales."""
        return self.base.packages

    def is_built_from_channels(self, dimensions: Dimensions) -> bool:
        """Whether the network without scales is."""
        return self.base.is_built_from_channels(dimensions)

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network, and add a module ``scale`` to each layer."""
        return self._with_scales(self.base.build_for(dimensions))

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Do the same for images."""
        return self._with_scales(
            self.base.build(num_classes=num_classes, num_channels=num_channels)
        )

    def _with_scales(self, model: nn.Module) -> nn.Module:
        for layer in called_layers(model, self.exclude, type(self).__name__):
            layer.add_module("scale", _Scale())
            layer.register_forward_hook(_scaled)
        return model


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
