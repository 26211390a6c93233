"""MobileNetV2 for small images."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.models.base import NormalizedModel, global_average


class _Stage(NamedTuple):
    expansion: int
    channels: int
    blocks: int
    stride: int
    """Stride of the first block."""


_STAGES = (
    _Stage(1, 16, 1, 1),
    _Stage(6, 24, 2, 1),
    _Stage(6, 32, 3, 2),
    _Stage(6, 64, 4, 2),
    _Stage(6, 96, 3, 1),
    _Stage(6, 160, 3, 2),
    _Stage(6, 320, 1, 1),
)
"""Table 2 of Sandler et al. (2018), with a stride of 1 instead of 2 in the second stage."""
_FIRST, _LAST = 32, 1280
"""Number of channels of the first and of the last convolution."""


@dataclass(frozen=True)
class MobileNetV2(NormalizedModel):
    """The MobileNetV2 of Sandler et al. (2018) for 32x32 images.

    The strides of the first convolution and of the second stage are 1 instead of 2, so that the
    last features of a 32x32 image have 4x4 pixels. Nonlinearities are ReLU instead of ReLU6
    (mirror-descent paper, B.4), and there is no dropout. With 10 classes, it has 2,236,682
    parameters, or 2,202,570 without those of batch normalization.

    Source: mirror-descent paper, section 5.1 and B.4. Its network is not public.
    """

    @property
    def name(self) -> str:
        """Name in tables."""
        return "MobileNetV2"

    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network; see `NormalizedModel.network`."""
        return _MobileNetV2(num_classes, num_channels)


class _Block(nn.Module):
    """An inverted residual: 1x1 expansion, 3x3 convolution of each channel, 1x1 projection.

    There is no expansion by a factor of 1, and no nonlinearity after the projection.
    """

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * channels_in
        self.expand = nn.Sequential()
        if expansion != 1:
            self.expand.append(nn.Conv2d(channels_in, inner, 1, bias=False))
            self.expand.append(nn.BatchNorm2d(inner))
            self.expand.append(nn.ReLU(inplace=True))
        self.conv1 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, channels_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(self.expand(x))), inplace=True)
        projected: Tensor = self.bn2(self.conv2(out))
        return x + projected if self.has_shortcut else projected


class _MobileNetV2(nn.Module):
    def __init__(self, num_classes: int, num_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_channels, _FIRST, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_FIRST)
        stages, channels = [], _FIRST
        for stage in _STAGES:
            stages.append(_blocks(channels, stage))
            channels = stage.channels
        self.stages = nn.Sequential(*stages)
        self.conv2 = nn.Conv2d(channels, _LAST, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(_LAST)
        self.linear = nn.Linear(_LAST, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(self.stages(x))), inplace=True)
        logits: Tensor = self.linear(global_average(x))
        return logits


def _blocks(channels_in: int, stage: _Stage) -> nn.Sequential:
    first = _Block(channels_in, stage.channels, stage.expansion, stage.stride)
    return nn.Sequential(
        first,
        *(
            _Block(stage.channels, stage.channels, stage.expansion, 1)
            for _ in range(1, stage.blocks)
        ),
    )
