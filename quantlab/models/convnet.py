"""Small convolutional networks for small images and for signals."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
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


@dataclass(frozen=True)
class SignalConvNet(ModelSpec):
    """`ConvNet` for signals (batch, channels, length): its convolutions have one dimension."""

    width: int = 16
    """Number of channels of the first convolution. The other two have twice as many, at half the
    resolution."""
    kernel_size: int = 5
    """Length of the kernels, an odd number >= 1."""

    def __post_init__(self) -> None:
        require_count(self, "width", 1)
        require_count(self, "kernel_size", 1)
        if self.kernel_size % 2 == 0:
            raise ConfigurationError(
                f"SignalConvNet.kernel_size = {self.kernel_size}: must be an odd number >= 1"
            )

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with Kaiming-normal initialization."""
        return _ConvNet(
            self.width,
            num_classes,
            num_channels,
            convolution=nn.Conv1d,
            normalization=nn.BatchNorm1d,
            kernel_size=self.kernel_size,
        )


class _ConvNet(nn.Module):
    def __init__(
        self,
        width: int,
        num_classes: int,
        num_channels: int,
        *,
        convolution: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d,
        normalization: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()

        def convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Conv1d | nn.Conv2d:
            padding = kernel_size // 2
            return convolution(inputs, outputs, kernel_size, stride, padding, bias=False)

        self.conv1 = convolve(num_channels, width)
        self.bn1 = normalization(width)
        self.conv2 = convolve(width, 2 * width, stride=2)
        self.bn2 = normalization(2 * width)
        self.conv3 = convolve(2 * width, 2 * width)
        self.bn3 = normalization(2 * width)
        self.linear = nn.Linear(2 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn3(self.conv3(x)), inplace=True)
        logits: Tensor = self.linear(global_average(x))
        return logits
