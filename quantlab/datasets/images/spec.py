"""ImageDatasetSpec, the base class of datasets whose inputs are normalized by channel."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from quantlab.datasets.base import DatasetSpec, ImageSet, Splits
from quantlab.datasets.loading.normalization import require_mean_and_std
from quantlab.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class ImageDatasetSpec(DatasetSpec):
    """A source of images, and how they are split and normalized."""

    mean: tuple[float, ...]
    """Mean of each channel, which is subtracted after pixels are scaled to [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation of each channel, > 0, by which the result is divided."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_mean_and_std(self)

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Number of channels of an image."""

    def require_fitting_normalization(self) -> None:
        """Check that `mean` and `std` have one number, or one per channel.

        Raises:
            ConfigurationError: if they have another number of numbers.
        """
        if len(self.mean) not in (1, self.num_channels):
            raise ConfigurationError(
                f"{type(self).__name__}.mean = {self.mean}: must have 1 number or "
                f"{self.num_channels}, one per channel, and so must std"
            )

    def normalize(self, pixels: Tensor) -> Tensor:
        """Convert uint8 pixels (..., channels, height, width) to float32 network inputs."""
        scale, shift = _scale_and_shift(self.mean, self.std, pixels.device)
        return torch.addcmul(shift[:, None, None], pixels.float(), scale[:, None, None])

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Normalize uint8 pixels (batch, channels, height, width)."""
        self.require_pixels(examples)
        return self.normalize(examples)

    def require_pixels(self, examples: Tensor) -> None:
        """Check that examples are uint8 pixels (batch, channels, height, width).

        Raises:
            ConfigurationError: if they are not.
        """
        is_batch = examples.dim() == 4 and examples.shape[1] == self.num_channels
        if examples.dtype is not torch.uint8 or not is_batch:
            dtype = str(examples.dtype).removeprefix("torch.")
            raise ConfigurationError(
                f"images of {self.name} of the shape {tuple(examples.shape)} and the dtype {dtype}:"
                f" must be pixels (batch, {self.num_channels}, height, width) of the dtype uint8, "
                "from 0 to 255 and not normalized"
            )

    def _split(self, train: ImageSet, test: ImageSet, num_classes: int) -> Splits:
        self.require_fitting_normalization()
        return super()._split(train, test, num_classes)


@lru_cache(maxsize=64)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return scale and shift of `normalize`. They are cached, so that no batch waits for a copy."""
    scale = torch.tensor(std, dtype=torch.float32, device=device).mul_(255).reciprocal_()
    shift = torch.tensor(mean, dtype=torch.float32, device=device).mul_(-255).mul_(scale)
    return scale, shift
