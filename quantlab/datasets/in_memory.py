"""Datasets of images of one size that are kept in the memory of the device."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.base import ImageSet
from quantlab.datasets.gathered import GatheredDataset
from quantlab.datasets.images.spec import ImageDatasetSpec
from quantlab.errors import ConfigurationError, brief


@dataclass(frozen=True)
class Images:
    """Images in memory, with their labels."""

    pixels: Tensor
    """(num_images, channels, height, width) uint8; (num_images, channels, length) for signals,
    which may be float32."""
    labels: Tensor
    """(num_images,) int64 in [0, num_classes)."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Images":
        """Return the images at the given positions."""
        return Images(self.pixels[indices].contiguous(), self.labels[indices])

    def to(self, device: torch.device) -> "Images":
        """Return the images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class InMemoryDataset(GatheredDataset, ImageDatasetSpec):
    """A dataset that is read once per process. Whole batches are augmented at once."""

    augmentation: CropFlip | None = None
    """Augmentation of training images; None for none. It may be of another class that has the
    methods `draw` and `apply` of `CropFlip`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own: Any = type(self)
        if self.augmentation is None or own.batches is not GatheredDataset.batches:
            return
        for name, used_by in (("draw", "draw"), ("apply", "drawn_batch")):
            if getattr(own, used_by) is not getattr(InMemoryDataset, used_by):
                continue  # a subclass may augment in another way
            if not _has_method(self.augmentation, name):
                raise ConfigurationError(
                    f"{own.__name__}.augmentation = {brief(self.augmentation)}: must be None, or "
                    "an instance with the methods draw and apply, such as CropFlip(padding=4)"
                )

    @abstractmethod
    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Read all training images, all test images, and the number of classes.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: if the data is missing or cannot be read.
        """

    def draw(self, count: int, generators: Sequence[torch.Generator]) -> Tensor | None:
        """Draw the random numbers of one batch on the CPU.

        Args:
            count: number of images of all trials.
            generators: generator of each trial.

        Returns:
            Random numbers for `drawn_batch`; None without augmentation.
        """
        if not generators or self.augmentation is None:
            return None
        return self.augmentation.draw(count, *generators)

    def drawn_batch(
        self, images: ImageSet, indices: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute a batch of several trials on the images' device.

        Args:
            images: the training split.
            indices: (num_trials, batch) positions of the images, on their device.
            drawn: random numbers of `draw`, on that device.

        Returns:
            Inputs (num_trials, batch, channels, height, width) and labels (num_trials, batch).
        """
        assert isinstance(images, Images)
        pixels = images.pixels[indices.flatten()]
        if drawn is not None:
            assert self.augmentation is not None
            pixels = self.augmentation.apply(pixels, drawn)
        return self._inputs(pixels).unflatten(0, indices.shape), images.labels[indices]

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Normalize images, which are uint8, or signals (batch, channels, length) of any dtype."""
        if examples.dim() != 3:
            self.require_pixels(examples)
        return self._inputs(examples)

    def _inputs(self, pixels: Tensor) -> Tensor:
        if pixels.dim() == 4:
            return self.normalize(pixels)
        # Signals have no width.
        return self.normalize(pixels.flatten(2).unsqueeze(3)).view(pixels.shape)


def _has_method(value: object, name: str) -> bool:
    """Whether a method can be called. That of a class cannot if it needs an instance."""
    method = getattr(value, name, None)
    if isinstance(value, type) and isinstance(method, FunctionType):
        return method.__code__.co_varnames[:1] != ("self",)
    return callable(method)
