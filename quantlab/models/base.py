"""What a model specification is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from quantlab.errors import ConfigurationError


@dataclass(frozen=True)
class ModelSpec(ABC):
    """The architecture of a network; its size is part of the spec, its weights are not."""

    @abstractmethod
    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """A freshly initialized network (from torch's default generator).

        Args:
            num_classes: length of the output, (batch, num_classes) logits.
            num_channels: channels of the input, (batch, num_channels, height, width).
        """

    @property
    def name(self) -> str:
        """How tables call the architecture."""
        return type(self).__name__


def require_logits(model: nn.Module, logits: object, batch: int, num_classes: int) -> None:
    """Make sure that a forward pass gave (batch, num_classes) logits.

    Raises:
        ConfigurationError: it gave something else.
    """
    if isinstance(logits, Tensor) and logits.shape == (batch, num_classes):
        return
    kind = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise ConfigurationError(
        f"{type(model).__name__}.forward gives {kind} for {batch} images of {num_classes} classes: "
        f"must give a tensor of shape ({batch}, {num_classes}), a logit for each class"
    )


def global_average(features: Tensor) -> Tensor:
    """The mean over an image, (batch, channels, height, width) to (batch, channels).

    As a sum, divided afterwards: the gradient of `torch.mean` is contiguous, also where features
    are channels-last, and whatever it then meets is many times slower.
    """
    height, width = features.shape[2:]
    return features.sum(dim=(2, 3)) / (height * width)
