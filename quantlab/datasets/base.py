"""DatasetSpec, the base class of all datasets: files, splits and batches of examples."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from quantlab.datasets.loading.checks import out_of_range
from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_count
from quantlab.random_numbers import RandomNumbers
from quantlab.tasks.dimensions import Dimensions

__all__ = ["DatasetSpec", "Dimensions", "ImageSet", "Splits"]

_VALIDATION_SPLITS = ("random", "last", "test")


class ImageSet(Protocol):
    """Examples, such as images, in a form that the `batches` method of their dataset can read."""

    @property
    def labels(self) -> Tensor:
        """(num_examples, ...) targets: int64 in [0, num_classes), or floating-point numbers."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self:
        """Return the examples at the given positions."""


@dataclass(frozen=True)
class Splits:
    """The three splits of a dataset."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(ABC):
    """The source of examples, and how they are split.

    The fields call an example of any kind an image. The split is drawn with `split_seed` instead of
    the trial's seed, so that all trials of a sweep use the same validation and test examples.
    """

    is_in_class_order: ClassVar[bool] = False
    """Whether training examples are read class by class, so that the last are of few classes."""

    validation_images: int
    """Number of training images that are held out for the choice between configurations. With 0, as
    in the papers, only test images remain to choose by."""
    validation_split: str = "random"
    """The validation images: ``"random"`` for training images that are drawn with `split_seed`,
    ``"last"`` for the last training images of the source, ``"test"`` for the test images. With
    ``"test"``, `validation_images` must be 0, and what is chosen by validation accuracy has a test
    accuracy that is too high. The mirror-descent paper uses the last 5,000 images of CIFAR, and the
    test images of TinyImageNet."""
    train_images: int | None = None
    """Number of training images that are used, after the validation images are held out; None for
    all."""
    test_images: int | None = None
    """Number of test images that are used; None for all."""
    split_seed: int = 0
    """Seed of the permutations that draw the split and the subsets."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for field, least in (("validation_images", 0), ("train_images", 1), ("test_images", 1)):
            if field == "validation_images" or getattr(self, field) is not None:
                require_count(self, field, least)
        if self.validation_split not in _VALIDATION_SPLITS:
            raise ConfigurationError(
                f"{owner}.validation_split = {brief(self.validation_split)}: must be one of "
                f"{', '.join(_VALIDATION_SPLITS)}"
            )
        if self.validation_split == "last" and self.is_in_class_order:
            raise ConfigurationError(
                f"{owner}.validation_split = 'last': must be random or test, because images are "
                "read class by class, and the last ones are of few classes"
            )
        if self.validation_split == "test" and self.validation_images:
            raise ConfigurationError(
                f"{owner}.validation_images = {self.validation_images}: must be 0 with "
                "validation_split = 'test', as no training images are held out"
            )
        require_count(self, "split_seed", -(2**61))

    @property
    def name(self) -> str:
        """Name of the dataset in tables."""
        return type(self).__name__

    @property
    def has_validation_images(self) -> bool:
        """Whether there are examples to choose by, which may be those of the test split."""
        return self.validation_images > 0 or self.validation_split == "test"

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders within the data folder that the dataset reads; empty for none."""
        return ()

    @property
    def file_pattern(self) -> str:
        """Shell-style pattern of the names of the files that are read in the folders of `files`."""
        return "*"

    @property
    def num_symbols(self) -> int | None:
        """Number of symbols in inputs of whole numbers; None if it is that of the classes."""
        return None

    @property
    def dimensions(self) -> Dimensions | None:
        """Dimensions, if they are known without reading a file; None otherwise."""
        return None

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Return the dimensions. As few files as possible are read.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: see `load`.
        """
        return self.dimensions or self.dimensions_of(self.load(data_dir))

    def dimensions_of(self, splits: Splits) -> Dimensions:
        """Return the dimensions of the first training batch, augmented as in training.

        Args:
            splits: what `load` returned.
        """
        first = splits.train.take(torch.arange(min(2, len(splits.train))))
        generator = torch.Generator().manual_seed(0)
        inputs, targets = next(iter(self.batches(first, batch_size=2, generator=generator)))
        return Dimensions(
            splits.num_classes,
            tuple(inputs.shape[1:]),
            inputs.dtype,
            tuple(targets.shape[1:]),
            targets.dtype,
            self.num_symbols,
        )

    def count_train_images(self, data_dir: Path) -> int | None:
        """Return the number of training examples per epoch; None if it requires reading files.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: see `load`.
        """
        if self.train_images is not None:
            return self.train_images
        return None if self.files else len(self.load(data_dir).train)

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Convert further examples to network inputs, as for evaluation.

        By default examples are network inputs already.

        Args:
            examples: (batch, ...) examples as the source of the dataset has them.
            data_dir: the data folder, which is read only if the conversion depends on the data.

        Returns:
            (batch, ...) network inputs on the device of the examples.

        Raises:
            ConfigurationError: if the examples are of another type or shape.
        """
        return examples

    @abstractmethod
    def check(self, data_dir: Path) -> None:
        """Check, before any trial starts, that the data exists; download it where possible.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: if the data is missing and cannot be downloaded. The message names
                the expected place.
        """

    @abstractmethod
    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """Load the splits.

        Args:
            data_dir: the data folder.
            device: device on which `batches` yields examples.

        Raises:
            ConfigurationError: if the data is missing, if it has fewer examples than the fields
                ask for, or if a target is out of range.
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
        """Yield batches of network inputs and targets.

        Args:
            images: one of the splits of `load`.
            batch_size: number of examples per batch. The last batch may be smaller.
            order: positions of the examples, in the order of the batches; None for all examples in
                their stored order.
            generator: CPU generator for the augmentation of training examples; None for no
                augmentation.
            workers: number of loader processes. It has no effect on examples in memory.

        Yields:
            Inputs (batch, channels, height, width), or of another shape if they are no images, and
            labels (batch,), or targets of the task.
        """

    def shared_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        share: Callable[[int], slice],
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a part of each batch of `batches`, for one of several processes that share them.

        By default, each process computes the whole batch and takes its part. Every process then
        draws the same random numbers.

        Args:
            images: the training split.
            batch_size: number of images per whole batch.
            share: maps the number of images of a batch to their positions in the part.
            order: see `batches`.
            generator: see `batches`.
            workers: see `batches`.
        """
        for inputs, labels in self.batches(
            images, batch_size=batch_size, order=order, generator=generator, workers=workers
        ):
            part = share(len(labels))
            yield inputs[part], labels[part]

    def stacked_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        orders: Tensor,
        random_numbers: Sequence[RandomNumbers],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield training batches of several trials, each equal to those of `batches`.

        Args:
            images: the training split.
            batch_size: number of images per batch and trial.
            orders: (num_trials, num_images) positions of the images.
            random_numbers: random numbers of each trial, for the augmentation.

        Yields:
            Inputs (num_trials, batch, channels, height, width) and labels (num_trials, batch).
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

    def _reads_as(self, kind: "type[DatasetSpec]") -> bool:
        """Whether the methods that read examples are those of `kind`, and are not overridden."""
        names = ("read", "load", "batches", "normalize", "num_channels")
        return all(getattr(type(self), name, None) is getattr(kind, name, None) for name in names)

    def _split(self, train: ImageSet, test: ImageSet, num_classes: int) -> Splits:
        """Hold out the validation examples, and select subsets of the others."""
        for split, images in (("training", train), ("test", test)):
            if images.labels.is_floating_point():
                self._require_finite(split, images.labels)
                continue
            wrong = out_of_range(images.labels, num_classes)
            if wrong.any():
                raise ConfigurationError(
                    f"{self.name}: {int(wrong.sum())} of {len(images)} {split} labels are out of "
                    f"range, such as {int(images.labels[wrong][0])}; must be from 0 to "
                    f"{num_classes - 1}"
                )
        self._check_sizes(len(train), len(test))
        if self.validation_split == "last":
            first = len(train) - self.validation_images
            rest, held_out = torch.arange(len(train)).tensor_split([first])
        else:
            held_out, rest = self._permutation(len(train), 0).tensor_split([self.validation_images])
        tested = test.take(self._permutation(len(test), 1)[: self.test_images])
        return Splits(
            train=train.take(rest[: self.train_images]),
            validation=tested if self.validation_split == "test" else train.take(held_out),
            test=tested,
            num_classes=num_classes,
        )

    def _require_finite(self, split: str, targets: Tensor) -> None:
        bad = int((~targets.isfinite()).sum())
        if bad:
            raise ConfigurationError(
                f"{self.name}: {bad} numbers of the {split} targets are infinite or NaN; must be "
                "finite"
            )

    def _check_sizes(self, train_images: int, test_images: int) -> None:
        """Check that the source has as many examples as the fields ask for."""
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
                    f"{type(self).__name__}.{field} = {wanted}: must be at most {available}, the "
                    "number of images in the dataset"
                )

    def _permutation(self, count: int, salt: int) -> Tensor:
        generator = torch.Generator().manual_seed(2 * self.split_seed + salt)
        return torch.randperm(count, generator=generator)
