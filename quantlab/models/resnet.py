"""Residual networks for small images, with and without parameters in their shortcuts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.models.base import ModelSpec, NormalizedModel, global_average
from quantlab.plain_values import require_count

_Shortcut = Callable[[int, int, int], nn.Module]
"""Makes a shortcut, given the channels of its input and its output, and its stride."""


@dataclass(frozen=True)
class ResNet(ModelSpec):
    """The CIFAR ResNet of He et al. (2016), depth 6n + 2 in three stages, with option-A shortcuts.

    Source: ProxConnect paper, B.1.1. With 10 classes, ResNet20 has 269,722 parameters and ResNet56
    has 853,018. Their state dicts have the layout of the public option-A checkpoints.
    """

    depth: int = 20
    """Number of weight layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110..."""
    width: int = 16
    """Number of channels of the first stage. The next two have two and four times as many."""
    widening: int = 1
    """Factor of the channels of all residual blocks. The first convolution keeps `width` channels.
    With a depth of 56, 2 gives WRN-56-2 ("Training Quantized Nets", H.1)."""

    def __post_init__(self) -> None:
        require_count(self, "depth", 1)
        require_count(self, "width", 1)
        require_count(self, "widening", 1)
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ConfigurationError(
                f"ResNet.depth = {self.depth}: must be 6n + 2, such as 20 or 56"
            )

    @property
    def name(self) -> str:
        """Name in tables: ``ResNet20``, ``WRN-56-2``, or ``ResNet20-w8`` for a width but 16."""
        kind = f"ResNet{self.depth}"
        if self.widening != 1:
            kind = f"WRN-{self.depth}-{self.widening}"
        return kind + (f"-w{self.width}" if self.width != 16 else "")

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with Kaiming-normal initialization."""
        blocks = (self.depth - 2) // 6
        return _ResNet(blocks, self.width, self.widening, num_classes, num_channels)


@dataclass(frozen=True)
class ResNet18(NormalizedModel):
    """The ResNet-18 of He et al. (2016) for 32x32 images, with option-B shortcuts.

    It begins with a 3x3 convolution instead of a 7x7 one and a maximum, and has two blocks in each
    of four stages. With 10 classes, it has 11,173,962 parameters, or 11,164,362 without those of
    batch normalization. `TorchvisionModel` has the network for ImageNet.

    Source: mirror-descent paper, B.4, and the network of its public code.
    """

    width: int = 64
    """Number of channels of the first stage. The others have two, four and eight times as many."""
    stem_stride: int = 1
    """Stride of the first convolution: 1 for 32x32 images, 2 for 64x64 images (B.4)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "width", 1)
        require_count(self, "stem_stride", 1)

    @property
    def name(self) -> str:
        """Name in tables: ``ResNet-18``, or ``ResNet-18-w8`` for a width other than 64."""
        return "ResNet-18" + (f"-w{self.width}" if self.width != 64 else "")

    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network; see `NormalizedModel.network`."""
        return _ResNet18(self.width, self.stem_stride, num_classes, num_channels)


class _OptionA(nn.Module):
    """A shortcut without parameters: the input, subsampled, between channels of zeros."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.channels_in = channels_in
        self.new_channels = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.new_channels:
            return x
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        padding = (0, 0, 0, 0, before, self.new_channels - before)
        if x.shape[1] == self.channels_in:
            return F.pad(x, padding)
        # The channels of several networks, side by side.
        return F.pad(x.unflatten(1, (-1, self.channels_in)), padding).flatten(1, 2)


def _option_b(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """Return a shortcut that is a 1x1 convolution if the shape changes."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out))


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, shortcut: _Shortcut
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


def _stage(
    channels_in: int, channels_out: int, stride: int, num_blocks: int, shortcut: _Shortcut
) -> nn.Sequential:
    first = _Block(channels_in, channels_out, stride, shortcut)
    return nn.Sequential(
        first, *(_Block(channels_out, channels_out, 1, shortcut) for _ in range(1, num_blocks))
    )


class _ResNet(nn.Module):
    def __init__(
        self, blocks_per_stage: int, stem: int, widening: int, num_classes: int, num_channels: int
    ) -> None:
        super().__init__()
        width = widening * stem
        self.conv1 = nn.Conv2d(num_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _stage(stem, width, 1, blocks_per_stage, _OptionA)
        self.layer2 = _stage(width, 2 * width, 2, blocks_per_stage, _OptionA)
        self.layer3 = _stage(2 * width, 4 * width, 2, blocks_per_stage, _OptionA)
        self.linear = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(global_average(x))
        return logits


class _ResNet18(nn.Module):
    def __init__(self, width: int, stem_stride: int, num_classes: int, num_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_channels, width, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1, 2, _option_b)
        self.layer2 = _stage(width, 2 * width, 2, 2, _option_b)
        self.layer3 = _stage(2 * width, 4 * width, 2, 2, _option_b)
        self.layer4 = _stage(4 * width, 8 * width, 2, 2, _option_b)
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.linear(global_average(x))
        return logits
