"""LearnedScales: a network whose layers have a scale each, so that its sets are s Q."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.models.base import ModelSpec
from quantlab.models.weights import weight_layers


@dataclass(frozen=True, kw_only=True)
class LearnedScales(ModelSpec):
    """Another network with a learned scale for each convolution and linear layer.

    What the layer computes is multiplied by s, so that weights of the set Q act as weights of s Q;
    the maps that bring them there are those of Q. A scale begins at 1 and is trained as biases are,
    after hard quantization, too. Batch normalization undoes it, so that it matters for layers
    without one behind them, and for how fast the others learn.

    Weights from elsewhere have no scales, and do not fit.
    """

    base: ModelSpec
    """The network."""
    exclude: tuple[str, ...] = ()
    """Module types and patterns of layers without a scale; see `Quantization.exclude`."""

    @property
    def name(self) -> str:
        """That of the network, and that it has scales."""
        return f"{self.base.name} with scales"

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """The network; module and parameter names stay, and each layer has a ``scale`` more."""
        model = self.base.build(num_classes=num_classes, num_channels=num_channels)
        for layer in weight_layers(model, self.exclude).values():
            layer.add_module("scale", _Scale())
            layer.register_forward_hook(_scaled)
        return model


class _Scale(nn.Module):
    """By itself, so that nobody takes a layer with it for a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, output: Tensor) -> Tensor:
        return output * self.factor


def _scaled(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    scaled: Tensor = layer.get_submodule("scale")(output)
    return scaled
