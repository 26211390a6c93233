"""Residual networks for 32x32 images, with the parameter-free (option A) shortcuts."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.models.base import ModelSpec, global_average
from quantlab.plain_values import require_count


@dataclass(frozen=True)
class ResNet(ModelSpec):
    """The CIFAR ResNet of He et al. (2016), depth 6n + 2 in three stages.

    Source: ProxConnect paper, B.1.1. With 10 classes, ResNet20 has 269,722 parameters and ResNet56
    has 853,018. Their state dicts have the layout of the public option-A checkpoints.
    """

    depth: int = 20
    """Number of weight layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110..."""
    width: int = 16
    """Number of channels of the first stage. The next two have two and four times as many."""

    def __post_init__(self) -> None:
        require_count(self, "depth", 1)
        require_count(self, "width", 1)
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ConfigurationError(
                f"ResNet.depth = {self.depth}: must be 6n + 2, such as 20 or 56"
            )

    @property
    def name(self) -> str:
        """Name in tables: ``ResNet20``, or ``ResNet20-w8`` for a width other than 16."""
        return f"ResNet{self.depth}" + (f"-w{self.width}" if self.width != 16 else "")

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with Kaiming-normal initialization."""
        return _ResNet((self.depth - 2) // 6, self.width, num_classes, num_channels)


class _Block(nn.Module):
    """Two 3x3 convolutions and an identity shortcut, subsampled and zero-padded where needed."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        self.channels_in = channels_in
        self.new_channels = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.stride != 1 or self.new_channels:
            x = x[:, :, :: self.stride, :: self.stride]
            before = self.new_channels // 2
            padding = (0, 0, 0, 0, before, self.new_channels - before)
            if x.shape[1] == self.channels_in:
                x = F.pad(x, padding)
            else:  # the channels of several networks, side by side
                x = F.pad(x.unflatten(1, (-1, self.channels_in)), padding).flatten(1, 2)
        return F.relu(out + x, inplace=True)


class _ResNet(nn.Module):
    def __init__(
        self, blocks_per_stage: int, width: int, num_classes: int, num_channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1, blocks_per_stage)
        self.layer2 = _stage(width, 2 * width, 2, blocks_per_stage)
        self.layer3 = _stage(2 * width, 4 * width, 2, blocks_per_stage)
        self.linear = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(global_average(x))
        return logits


def _stage(channels_in: int, channels_out: int, stride: int, num_blocks: int) -> nn.Sequential:
    first = _Block(channels_in, channels_out, stride)
    return nn.Sequential(
        first, *(_Block(channels_out, channels_out, 1) for _ in range(1, num_blocks))
    )
