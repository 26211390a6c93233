"""A multilayer perceptron."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from quantlab.errors import ConfigurationError, brief
from quantlab.models.base import ModelSpec
from quantlab.plain_values import plain, require_count
from quantlab.tasks.dimensions import Dimensions


@dataclass(frozen=True)
class MLP(ModelSpec):
    """Linear layers with batch normalization and ReLU between them, on flattened inputs."""

    image_size: int = 8
    """Height and width of an image in pixels: 8 for digits, 32 for CIFAR. It has no effect on
    inputs of other shapes than (channels, height, width), such as arrays of numbers."""
    hidden: tuple[int, ...] = (64, 64)
    """Sizes of the hidden layers, each >= 1."""

    def __post_init__(self) -> None:
        hidden = plain(self.hidden)
        require_count(self, "image_size", 1)
        is_sequence = isinstance(hidden, Sequence) and not isinstance(hidden, str)
        if not is_sequence or not all(type(size) is int and size >= 1 for size in hidden):
            raise ConfigurationError(
                f"MLP.hidden = {brief(self.hidden)}: must be a sequence of whole numbers >= 1"
            )
        object.__setattr__(self, "hidden", tuple(hidden))

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network with Kaiming-normal initialization."""
        if self.is_built_from_channels(dimensions):
            return super().build_for(dimensions)
        return self._built(math.prod(dimensions.input), dimensions.num_classes)

    def is_built_from_channels(self, dimensions: Dimensions) -> bool:
        """Whether inputs are images."""
        return len(dimensions.input) == 3

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network for images with Kaiming-normal initialization."""
        return self._built(num_channels * self.image_size**2, num_classes)

    def _built(self, size: int, num_classes: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in self.hidden:
            layers += [nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            size = width
        layers.append(nn.Linear(size, num_classes))
        for module in layers:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        return nn.Sequential(*layers)
