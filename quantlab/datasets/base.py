"""What a dataset specification is: where images come from, their splits, and batches of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import floats, plain, require_count
from quantlab.random_numbers import RandomNumbers


class ImageSet(Protocol):
    """Images in whatever form their dataset's `batches` understands."""

    @property
    def labels(self) -> Tensor:
        """(num_images,) int64 in [0, num_classes)."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self:
        """The images at the given positions."""


@dataclass(frozen=True)
class Splits:
    """A dataset, ready to train on."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    num_classes: int


@dataclass(frozen=True)
class Dimensions:
    """What a network for a dataset takes and gives."""

    num_classes: int
    image: tuple[int, ...]
    """Of a network input without its batch: (channels, height, width), or (channels, length) for
    signals."""
    dtype: torch.dtype = torch.float32
    """Of a network input."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(ABC):
    """Where images come from, and how they are split and normalized.

    The split is drawn with `split_seed`, not with a trial's seed, so that all trials of a sweep
    see the same validation and test images.
    """

    validation_images: int
    """Training images held out for choosing between configurations; 0 for none, as in the papers,
    which leaves nothing but test images to choose by."""
    train_images: int | None = None
    """Use only so many training images (after the validation images are held out)."""
    test_images: int | None = None
    """Use only so many test images."""
    split_seed: int = 0
    """Seed of the permutations behind the split and the two subsets."""
    mean: tuple[float, ...]
    """Subtracted from each channel of the pixels, which are scaled to [0, 1]."""
    std: tuple[float, ...]
    """What each channel is then divided by, > 0."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for field, least in (("validation_images", 0), ("train_images", 1), ("test_images", 1)):
            if field == "validation_images" or getattr(self, field) is not None:
                require_count(self, field, least)
        require_count(self, "split_seed", -(2**61))
        for field in ("mean", "std"):
            values = plain(getattr(self, field))
            try:
                numbers = floats(values)
            except (TypeError, ValueError):
                numbers = ()
            if not numbers or not all(map(math.isfinite, numbers)):
                raise ConfigurationError(
                    f"{owner}.{field} = {brief(values)}: must be numbers, one a channel"
                )
            object.__setattr__(self, field, numbers)
        if any(value <= 0 for value in self.std):
            raise ConfigurationError(f"{owner}.std = {self.std}: must be > 0")
        if len(self.mean) != len(self.std):
            raise ConfigurationError(
                f"{owner}.std = {self.std}: must be as many numbers as mean has, {len(self.mean)}"
            )

    @property
    def name(self) -> str:
        """How tables call the dataset."""
        return type(self).__name__

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels of an image."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders within the data folder that it reads; none if it needs none."""
        return ()

    @property
    def dimensions(self) -> Dimensions | None:
        """What is known of the images without any file; None if that is nothing."""
        return None

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Number of classes and shape of the network inputs, from as few files as possible.

        Raises:
            ConfigurationError: see `load`.
        """
        return self.dimensions or self._dimensions_of(self.load(data_dir))

    def count_train_images(self, data_dir: Path) -> int | None:
        """Training images of an epoch; None if only reading files would tell.

        Raises:
            ConfigurationError: see `load`.
        """
        if self.train_images is not None:
            return self.train_images
        return None if self.files else len(self.load(data_dir).train)

    @abstractmethod
    def check(self, data_dir: Path) -> None:
        """Make sure, before any trial starts, that the data is there; download it where possible.

        Raises:
            ConfigurationError: it is not, and cannot be had; the message says where it belongs.
        """

    @abstractmethod
    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """The splits, for batches on a device.

        Raises:
            ConfigurationError: the data is missing, too small for the sizes asked for, or has a
                label that is out of range.
        """

    @abstractmethod
    def batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images as network input, batch after batch, with their labels.

        Args:
            images: one of the splits of `load`.
            batch_size: images a batch; the last one may be smaller.
            order: positions to take, in this order; None for all, as they lie.
            generator: a CPU generator, on which the random changes of training images rest; None
                for images as they are.
            workers: helper processes; without effect where all images are in memory.
        """

    def stacked_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        orders: Tensor,
        random_numbers: Sequence[RandomNumbers],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches of several trials, as `batches` gives them to each alone.

        Args:
            images: of the training split.
            batch_size: images a batch and trial.
            orders: (num_trials, num_images) positions to take.
            random_numbers: of each trial, for the random changes of its images.

        Yields:
            (num_trials, batch, channels, height, width) and (num_trials, batch).
        """
        each = []
        for order, numbers in zip(orders, random_numbers, strict=True):
            each.append(
                self.batches(
                    images,
                    batch_size=batch_size,
                    order=order,
                    generator=numbers.generator,
                )
            )
        for _ in range(math.ceil(orders.shape[1] / batch_size)):
            batches = []
            for batch, numbers in zip(each, random_numbers, strict=True):
                with numbers.in_use():
                    batches.append(next(batch))
            inputs, labels = zip(*batches, strict=True)
            yield torch.stack(inputs), torch.stack(labels)

    def require_fitting_normalization(self) -> None:
        """Make sure that mean and standard deviation are those of the channels.

        Raises:
            ConfigurationError: they are more or fewer numbers than that, and not one for all.
        """
        if len(self.mean) not in (1, self.num_channels):
            raise ConfigurationError(
                f"{type(self).__name__}.mean = {self.mean}: must be one number, or one for each of "
                f"{self.num_channels} channels, and so must std"
            )

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (..., channels, height, width) as float32 network input."""
        scale, shift = _scale_and_shift(self.mean, self.std, pixels.device)
        return torch.addcmul(shift[:, None, None], pixels.float(), scale[:, None, None])

    def _dimensions_of(self, splits: Splits) -> Dimensions:
        """Those of the first training batch, augmented as in training."""
        first = splits.train.take(torch.arange(min(2, len(splits.train))))
        generator = torch.Generator().manual_seed(0)
        inputs, _ = next(iter(self.batches(first, batch_size=2, generator=generator)))
        return Dimensions(splits.num_classes, tuple(inputs.shape[1:]), inputs.dtype)

    def _reads_as(self, kind: "type[DatasetSpec]") -> bool:
        """Whether its images are those of a class, and not of a subclass that reads others."""
        names = ("read", "load", "batches", "normalize", "num_channels")
        return all(getattr(type(self), name, None) is getattr(kind, name, None) for name in names)

    def _split(self, train: ImageSet, test: ImageSet, num_classes: int) -> Splits:
        """Hold validation images out, and keep as many of the others as asked for."""
        self.require_fitting_normalization()
        for split, images in (("training", train), ("test", test)):
            wrong = (images.labels < 0) | (images.labels >= num_classes)
            if wrong.any():
                raise ConfigurationError(
                    f"{self.name}: {int(wrong.sum())} of {len(images)} {split} labels are out of "
                    f"range, such as {int(images.labels[wrong][0])}; must be 0 to {num_classes - 1}"
                )
        self._check_sizes(len(train), len(test))
        train_order, test_order = self._permutation(len(train), 0), self._permutation(len(test), 1)
        held_out, rest = train_order.tensor_split([self.validation_images])
        return Splits(
            train=train.take(rest[: self.train_images]),
            validation=train.take(held_out),
            test=test.take(test_order[: self.test_images]),
            num_classes=num_classes,
        )

    def _check_sizes(self, train_images: int, test_images: int) -> None:
        """Compare what the source has with what is asked for."""
        for field, wanted, available in (
            (
                "validation_images + train_images",
                self.validation_images + (self.train_images or 1),
                train_images,
            ),
            ("test_images", self.test_images or 1, test_images),
        ):
            if wanted > available:
                raise ConfigurationError(
                    f"{type(self).__name__}.{field} = {wanted}: only {available} images are there"
                )

    def _permutation(self, count: int, salt: int) -> Tensor:
        generator = torch.Generator().manual_seed(2 * self.split_seed + salt)
        return torch.randperm(count, generator=generator)


@lru_cache(maxsize=64)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Kept on the device, so that no batch waits for them to come there."""
    scale = torch.tensor(std, dtype=torch.float32, device=device).mul_(255).reciprocal_()
    shift = torch.tensor(mean, dtype=torch.float32, device=device).mul_(-255).mul_(scale)
    return scale, shift
