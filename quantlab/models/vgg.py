"""VGG networks for small images: VGG-16, and VGG-9 and VGG-BC of "Training Quantized Nets"."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.models.base import NormalizedModel, global_average
from quantlab.plain_values import require_count

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Number of convolutions of each stage of VGG-16."""
_WIDTHS = (1, 2, 4, 8, 8)
"""Number of channels of each stage of VGG-16, in multiples of the first."""
_SMALLEST_IMAGE = 8
"""Size of an image of which three 2x2 maxima leave a pixel."""


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


@dataclass(frozen=True)
class VGG9(NormalizedModel):
    """VGG-9: convolutions of 64, 64, 128, 128, 256, 256 and 256 channels, and two linear layers.

    A 2x2 maximum follows the second, the fourth and the seventh convolution. Batch normalization
    and ReLU follow every layer but the last, which alone has a bias. The first linear layer has 256
    units, and sees all pixels of the last features. With 10 classes, the convolutions have
    1,734,336 weights, and the linear layers 1,051,136.

    Source: "Training Quantized Nets", H.1 and Table 2.
    """

    width: int = 64
    """Number of channels of the first stage. The second has twice, the third and the first linear
    layer four times as many."""
    image_size: int = 32
    """Height and width of the images in pixels, >= 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "width", 1)
        require_count(self, "image_size", _SMALLEST_IMAGE)

    @property
    def name(self) -> str:
        """Name in tables: ``VGG-9``, or ``VGG-9-w8`` for a width other than 64."""
        return "VGG-9" + (f"-w{self.width}" if self.width != 64 else "")

    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network; see `NormalizedModel.network`."""
        stages = tuple(
            (multiple * self.width, count) for multiple, count in ((1, 2), (2, 2), (4, 3))
        )
        hidden = (4 * self.width,)
        return _flattening(stages, hidden, self.image_size, num_classes, num_channels)


@dataclass(frozen=True)
class VGGBC(NormalizedModel):
    """VGG-BC, BinaryConnect's network on CIFAR-10, for cross-entropy instead of the hinge loss.

    It has pairs of convolutions of 128, 256 and 512 channels, each followed by a 2x2 maximum, and
    linear layers of 1024, 1024 and the number of classes. Batch normalization and ReLU follow every
    layer but the last, which alone has a bias. With 10 classes, the convolutions have 4,574,592
    weights, and the linear layers 9,447,424.

    Source: "Training Quantized Nets", H.1 and Table 3.
    """

    width: int = 128
    """Number of channels of the first stage. The others have two and four times as many, and the
    hidden linear layers eight times."""
    image_size: int = 32
    """Height and width of the images in pixels, >= 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "width", 1)
        require_count(self, "image_size", _SMALLEST_IMAGE)

    @property
    def name(self) -> str:
        """Name in tables: ``VGG-BC``, or ``VGG-BC-w8`` for a width other than 128."""
        return "VGG-BC" + (f"-w{self.width}" if self.width != 128 else "")

    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network; see `NormalizedModel.network`."""
        stages = tuple((multiple * self.width, 2) for multiple in (1, 2, 4))
        hidden = (8 * self.width, 8 * self.width)
        return _flattening(stages, hidden, self.image_size, num_classes, num_channels)


def _flattening(
    stages: Sequence[tuple[int, int]],
    hidden: Sequence[int],
    image_size: int,
    num_classes: int,
    num_channels: int,
) -> nn.Module:
    """Return a network whose linear layers see all pixels of the last features.

    Args:
        stages: number of channels and of convolutions of each stage.
        hidden: number of units of each hidden linear layer.
        image_size: height and width of the images.
        num_classes: number of classes.
        num_channels: number of channels of the images.
    """
    features, classifier, channels, size = (
        nn.Sequential(),
        nn.Sequential(),
        num_channels,
        image_size,
    )
    for wide, convolutions in stages:
        features.append(_stage(channels, wide, convolutions, bias=False, ceil_mode=False))
        channels, size = wide, size // 2
    units = channels * size**2
    for wide in hidden:
        classifier.append(
            nn.Sequential(nn.Linear(units, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU())
        )
        units = wide
    classifier.append(nn.Linear(units, num_classes))
    parts = {"features": features, "flatten": nn.Flatten(), "classifier": classifier}
    return nn.Sequential(OrderedDict(parts))


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


def _stage(
    channels_in: int,
    channels_out: int,
    convolutions: int,
    *,
    bias: bool = True,
    ceil_mode: bool = True,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers.append(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias))
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        channels_in = channels_out
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=ceil_mode))
