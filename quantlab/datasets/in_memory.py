"""Datasets whose images, all of one size, lie in the device's memory as a whole."""

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
    """Images with their labels."""

    pixels: Tensor
    """(num_images, channels, height, width) uint8; (num_images, channels, length) for signals."""
    labels: Tensor
    """(num_images,) int64 in [0, num_classes)."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Images":
        """The images at the given positions."""
        return Images(self.pixels[indices].contiguous(), self.labels[indices])

    def to(self, device: torch.device) -> "Images":
        """The images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class InMemoryDataset(DatasetSpec):
    """Images that are read once in a process; batches and their augmentation are whole tensors."""

    augmentation: CropFlip | None = None
    """Random changes to training images; None for none."""

    @abstractmethod
    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """All training images, all test images, and the number of classes."""

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Those that are known, or else of the images, which are not kept."""
        return self.dimensions or self._dimensions_of(_read(self, data_dir, torch.device("cpu")))

    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """The splits on the device, remembered."""
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
        """Batches on the images' device, augmented from the generator one after the other."""
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
        """Those of all trials are gathered, augmented and normalized as one."""
        assert isinstance(images, Images)
        generators = [numbers.generator for numbers in random_numbers]
        return self._batches(images, batch_size, orders, generators)

    @property
    def draws_ahead(self) -> bool:
        """Whether `draw` and `drawn_batch` give what `stacked_batches` does."""
        own = type(self)
        return (own.batches, own.stacked_batches) == (
            InMemoryDataset.batches,
            InMemoryDataset.stacked_batches,
        )

    def draw(self, count: int, generators: Sequence[torch.Generator]) -> Tensor | None:
        """All random numbers of one batch, on the CPU; None where nothing is changed at random.

        Args:
            count: images of all trials.
            generators: of each trial.
        """
        if not generators or self.augmentation is None:
            return None
        return self.augmentation.draw(count, *generators)

    def drawn_batch(
        self, images: ImageSet, indices: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """A batch of several trials; nothing of it is made on the CPU.

        Args:
            images: of the training split.
            indices: (num_trials, batch) positions on the images' device.
            drawn: what `draw` gave, on that device.

        Returns:
            (num_trials, batch, channels, height, width) and (num_trials, batch).
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
        # With signals, there is no width.
        return self.normalize(pixels.flatten(2).unsqueeze(3)).view(pixels.shape)


@remembering(4)
def _load(spec: InMemoryDataset, data_dir: Path, device: torch.device) -> Splits:
    return _read(spec, data_dir, device)


def _read(spec: InMemoryDataset, data_dir: Path, device: torch.device) -> Splits:
    train, test, num_classes = spec.read(data_dir)
    return spec._split(train.to(device), test.to(device), num_classes)
