"""ModelSpec, the base class of all networks, and functions that they share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from quantlab.errors import ConfigurationError


@dataclass(frozen=True)
class ModelSpec(ABC):
    """The architecture of a network, including its size but not its weights."""

    @abstractmethod
    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network, initialized from torch's default generator.

        Args:
            num_classes: number of classes. The output is (batch, num_classes) logits.
            num_channels: number of channels of the input (batch, num_channels, height, width).
        """

    @property
    def name(self) -> str:
        """Name of the architecture in tables."""
        return type(self).__name__


def require_logits(model: nn.Module, logits: object, batch: int, num_classes: int) -> None:
    """Check that a forward pass returned (batch, num_classes) logits.

    Raises:
        ConfigurationError: if `logits` is not a tensor of this shape.
    """
    if isinstance(logits, Tensor) and logits.shape == (batch, num_classes):
        return
    kind = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise ConfigurationError(
        f"{type(model).__name__}.forward returned {kind} for {batch} images of {num_classes} "
        f"classes; must return a tensor of shape ({batch}, {num_classes}), one logit per class"
    )


def global_average(features: Tensor) -> Tensor:
    """Average features over the image, from (batch, channels, height, width) to (batch, channels).

    The mean is computed as a sum and a division. The gradient of `torch.mean` is contiguous even if
    the features are channels-last, which makes the following operations many times slower.
    """
    height, width = features.shape[2:]
    return features.sum(dim=(2, 3)) / (height * width)
