"""VGG-16 for small images."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.models.base import NormalizedModel, global_average
from quantlab.plain_values import require_count

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Number of convolutions of each stage."""
_WIDTHS = (1, 2, 4, 8, 8)
"""Number of channels of each stage, in multiples of the first."""


@dataclass(frozen=True)
class VGG16(NormalizedModel):
    """The VGG-16 of Simonyan and Zisserman (2015) with batch normalization, for 32x32 images.

    It has 13 convolutions of 3x3 with biases, in five stages that each end with a 2x2 maximum, and
    three linear layers. The hidden ones have 512 units and batch normalization. There is no
    dropout. With 10 classes, it has 15,255,626 parameters, or 15,245,130 without those of batch
    normalization.

    Smaller images reach one pixel at an earlier stage, because sizes are rounded up. The features
    of larger images are averaged.

    Source: mirror-descent paper, B.4, and the network of its public code.
    """

    width: int = 64
    """Number of channels of the first stage. The others have two, four, eight and eight times as
    many, and the hidden layers eight times."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "width", 1)

    @property
    def name(self) -> str:
        """Name in tables: ``VGG-16``, or ``VGG-16-w8`` for a width other than 64."""
        return "VGG-16" + (f"-w{self.width}" if self.width != 64 else "")

    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network; see `NormalizedModel.network`."""
        return _VGG16(self.width, num_classes, num_channels)


class _VGG16(nn.Module):
    def __init__(self, width: int, num_classes: int, num_channels: int) -> None:
        super().__init__()
        stages, channels = [], num_channels
        for convolutions, multiple in zip(_CONVOLUTIONS, _WIDTHS, strict=True):
            stages.append(_stage(channels, multiple * width, convolutions))
            channels = multiple * width
        self.features = nn.Sequential(*stages)
        self.linear1 = nn.Linear(channels, channels)
        self.bn1 = nn.BatchNorm1d(channels)
        self.linear2 = nn.Linear(channels, channels)
        self.bn2 = nn.BatchNorm1d(channels)
        self.linear3 = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = global_average(self.features(x))
        x = F.relu(self.bn1(self.linear1(x)), inplace=True)
        x = F.relu(self.bn2(self.linear2(x)), inplace=True)
        logits: Tensor = self.linear3(x)
        return logits


def _stage(channels_in: int, channels_out: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers.append(nn.Conv2d(channels_in, channels_out, 3, padding=1))
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        channels_in = channels_out
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))
