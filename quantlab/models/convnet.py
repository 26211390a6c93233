"""A small convolutional network for small images."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.models.base import ModelSpec, global_average
from quantlab.plain_values import require_count


@dataclass(frozen=True)
class ConvNet(ModelSpec):
    """Three 3x3 convolutions with batch normalization, global average pooling, a linear layer."""

    width: int = 16
    """Number of channels of the first convolution. The other two have twice as many, at half the
    resolution."""

    def __post_init__(self) -> None:
        require_count(self, "width", 1)

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with Kaiming-normal initialization."""
        return _ConvNet(self.width, num_classes, num_channels)


class _ConvNet(nn.Module):
    def __init__(self, width: int, num_classes: int, num_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.linear = nn.Linear(2 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn3(self.conv3(x)), inplace=True)
        logits: Tensor = self.linear(global_average(x))
        return logits
