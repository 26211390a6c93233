"""What a model specification is, and how weights from elsewhere get into a model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
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


def global_average(features: Tensor) -> Tensor:
    """The mean over an image, (batch, channels, height, width) to (batch, channels).

    As a sum, divided afterwards: the gradient of `torch.mean` is contiguous, also where features
    are channels-last, and whatever it then meets is many times slower.
    """
    height, width = features.shape[2:]
    return features.sum(dim=(2, 3)) / (height * width)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict from a file, as public checkpoints come.

    A file that holds the state dict under ``"state_dict"``, and keys with the ``module.`` prefix
    of DataParallel, are understood. Every key must match.

    Raises:
        ConfigurationError: the file is missing, unreadable, or of another architecture.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"weights file {path}: no such file") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ConfigurationError(f"weights file {path}: not a readable checkpoint") from error
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ConfigurationError(f"weights file {path}: holds no state dict")
    fit_weights(model, content, f"weights file {path}")


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict, of which every key must match (less a ``module.`` prefix).

    Args:
        model: what the weights are for.
        state: names and values.
        source: how the message calls the weights.

    Raises:
        ConfigurationError: they are of another architecture.
    """
    try:
        model.load_state_dict(
            {str(key).removeprefix("module."): value for key, value in state.items()}
        )
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ConfigurationError(
            f"{source}: does not fit {type(model).__name__}: {first}"
        ) from error
