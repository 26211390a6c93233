"""GatheredDataset: datasets whose examples are kept in the memory of the device."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from quantlab.datasets.base import DatasetSpec, Dimensions, ImageSet, Splits
from quantlab.datasets.loading.files import versions_of
from quantlab.datasets.loading.sending import sent
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering


class Movable(ImageSet, Protocol):
    """Examples in memory."""

    def to(self, device: torch.device) -> Self:
        """Return the examples on a device."""


@dataclass(frozen=True, kw_only=True)
class GatheredDataset(DatasetSpec):
    """A dataset that is read once per process, and whose batches are gathered on the device.

    A pack gathers the batches of all its trials at once, and prepares those of many steps.
    """

    @abstractmethod
    def read(self, data_dir: Path) -> tuple[Movable, Movable, int]:
        """Read all training examples, all test examples, and the number of classes.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: if the data is missing or cannot be read.
        """

    @abstractmethod
    def drawn_batch(
        self, images: ImageSet, indices: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute a batch of several trials on the examples' device.

        Args:
            images: the training split.
            indices: (num_trials, batch) positions of the examples, on their device.
            drawn: random numbers of `draw`, on that device.

        Returns:
            Inputs (num_trials, batch, ...), such as (num_trials, batch, channels, height, width),
            and targets (num_trials, batch, ...).
        """

    def draw(self, count: int, generators: Sequence[torch.Generator]) -> Tensor | None:
        """Draw the random numbers of one batch on the CPU.

        Args:
            count: number of examples of all trials.
            generators: generator of each trial; none of them without augmentation.

        Returns:
            Random numbers for `drawn_batch`; None without augmentation, as here.
        """
        return None

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Return the known dimensions, or those of the examples, which are read but not cached."""
        return self.dimensions or self.dimensions_of(_read(self, data_dir, torch.device("cpu")))

    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """Return the splits on the device. The last four results are cached in the process.

        They are read again if one of `files` has changed; in a folder, if it has other entries.
        """
        versions = versions_of(self.files, data_dir)
        return _load(self, data_dir, torch.device(device), versions)

    def batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches on the examples' device; see `DatasetSpec.batches`."""
        if order is None:
            order = torch.arange(len(images), device=images.labels.device)
        generators = [] if generator is None else [generator]
        for inputs, targets in self._batches(images, batch_size, order[None], generators):
            yield inputs[0], targets[0]

    def stacked_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        orders: Tensor,
        random_numbers: Sequence[RandomNumbers],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches that are gathered and augmented for all trials at once."""
        generators = [numbers.generator for numbers in random_numbers]
        return self._batches(images, batch_size, orders, generators)

    def draws_ahead(self, images: ImageSet) -> bool:
        """Whether the batches of many steps can be prepared together on the device.

        `draw` and `drawn_batch` then give the same batches as `stacked_batches`.

        Args:
            images: the training split.
        """
        own = type(self)
        return (own.batches, own.stacked_batches) == (
            GatheredDataset.batches,
            GatheredDataset.stacked_batches,
        )

    def _batches(
        self,
        images: ImageSet,
        batch_size: int,
        orders: Tensor,
        generators: Sequence[torch.Generator],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = images.labels.device
        for indices in orders.split(batch_size, dim=1):
            drawn = self.draw(indices.numel(), generators)
            yield self.drawn_batch(images, indices, drawn if drawn is None else sent(drawn, device))


@remembering(4)
def _load(spec: GatheredDataset, data_dir: Path, device: torch.device, versions: object) -> Splits:
    return _read(spec, data_dir, device)


def _read(spec: GatheredDataset, data_dir: Path, device: torch.device) -> Splits:
    train, test, num_classes = spec.read(data_dir)
    return spec._split(train.to(device), test.to(device), num_classes)
