"""Datasets of images of one size that are kept in the memory of the device."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.base import DatasetSpec, Dimensions, ImageSet, Splits
from quantlab.datasets.sending import sent
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering


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
class InMemoryDataset(DatasetSpec):
    """A dataset that is read once per process. Whole batches are augmented at once."""

    augmentation: CropFlip | None = None
    """Augmentation of training images; None for none."""

    @abstractmethod
    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Read all training images, all test images, and the number of classes.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: if the data is missing or cannot be read.
        """

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Return the known dimensions, or those of the images, which are read but not cached."""
        return self.dimensions or self._dimensions_of(_read(self, data_dir, torch.device("cpu")))

    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """Return the splits on the device. The last four results are cached in the process."""
        return _load(self, data_dir, torch.device(device))

    def batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches on the images' device; see `DatasetSpec.batches`."""
        assert isinstance(images, Images)
        if order is None:
            order = torch.arange(len(images), device=images.labels.device)
        generators = [] if generator is None else [generator]
        for inputs, labels in self._batches(images, batch_size, order[None], generators):
            yield inputs[0], labels[0]

    def stacked_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        orders: Tensor,
        random_numbers: Sequence[RandomNumbers],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches that are gathered, augmented and normalized for all trials at once."""
        assert isinstance(images, Images)
        generators = [numbers.generator for numbers in random_numbers]
        return self._batches(images, batch_size, orders, generators)

    @property
    def draws_ahead(self) -> bool:
        """Whether `draw` and `drawn_batch` give the same batches as `stacked_batches`."""
        own = type(self)
        return (own.batches, own.stacked_batches) == (
            InMemoryDataset.batches,
            InMemoryDataset.stacked_batches,
        )

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

    def _batches(
        self,
        images: Images,
        batch_size: int,
        orders: Tensor,
        generators: Sequence[torch.Generator],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = images.pixels.device
        for indices in orders.split(batch_size, dim=1):
            drawn = self.draw(indices.numel(), generators)
            yield self.drawn_batch(images, indices, drawn if drawn is None else sent(drawn, device))

    def _inputs(self, pixels: Tensor) -> Tensor:
        if pixels.dim() == 4:
            return self.normalize(pixels)
        # Signals have no width.
        return self.normalize(pixels.flatten(2).unsqueeze(3)).view(pixels.shape)


@remembering(4)
def _load(spec: InMemoryDataset, data_dir: Path, device: torch.device) -> Splits:
    return _read(spec, data_dir, device)


def _read(spec: InMemoryDataset, data_dir: Path, device: torch.device) -> Splits:
    train, test, num_classes = spec.read(data_dir)
    return spec._split(train.to(device), test.to(device), num_classes)
