"""Arrays: inputs and targets in files of NumPy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from quantlab.datasets.base import ImageSet, Splits
from quantlab.datasets.gathered import GatheredDataset
from quantlab.datasets.loading.array_files import (
    file_of,
    is_large,
    read_array,
    require_array_name,
    rows_at_once,
)
from quantlab.datasets.loading.checks import (
    as_targets,
    require_finite,
    require_in_range,
    require_number_of,
)
from quantlab.datasets.loading.digits import normalized, require_digits
from quantlab.datasets.loading.normalization import Normalization
from quantlab.datasets.loading.sending import sent
from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count, require_instance

__all__ = ["ArrayExamples", "Arrays", "Normalization"]


@dataclass(frozen=True)
class ArrayExamples:
    """Rows of an array, with their targets."""

    source: str
    """Name of the array of inputs."""
    inputs: Tensor
    """(num_rows, ...) all inputs of the array, of any numeric type: on the device of the targets,
    or on the CPU if they are large."""
    labels: Tensor
    """(num_examples, ...) targets, whole or floating-point numbers; (num_examples, 0) if targets
    are the next symbols of the inputs."""
    positions: Tensor
    """(num_examples,) rows of the examples, on the device of the inputs."""
    normalization: tuple[Tensor, ...] | None = None
    """Mean and standard deviation, see `normalized`, on the device of the targets."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def is_large(self) -> bool:
        """Whether the inputs stay in their file."""
        return is_large(self.inputs.nbytes)

    def take(self, indices: Tensor) -> "ArrayExamples":
        """Return the examples at the given positions. Their inputs are not copied."""
        rows = self.positions[indices.to(self.positions.device)]
        return replace(self, labels=self.labels[indices.to(self.labels.device)], positions=rows)

    def to(self, device: torch.device) -> "ArrayExamples":
        """Return the examples on a device, without large inputs."""
        if device.type == "cpu" or self.is_large:
            return replace(self, labels=self.labels.to(device))
        rows = torch.arange(len(self), device=device)
        own = self.inputs[self.positions].to(device)
        return replace(self, inputs=own, labels=self.labels.to(device), positions=rows)


@dataclass(frozen=True, kw_only=True)
class Arrays(GatheredDataset):
    """Inputs and targets in files of NumPy in the data folder, one row per example.

    An array is named by its file, ``"x.npy"``, or by its file and its name in it, ``"data.npz:x"``.
    The types of the numbers say what they are:

    - Targets of whole numbers are `classes`, or symbols of sequences. Floating-point targets are
      numbers to predict, of which a network gives as many as a row has.
    - Inputs are numbers of any type, which the network gets as float32; or whole numbers that are
      symbols, if `symbols` is set, which it gets as int64.

    A ``.npy`` file of more than 1 GiB is mapped into memory: its inputs are read when a batch needs
    them, and checked then. All others are read, and checked before the first trial starts.
    """

    inputs: str
    """Name of the array of inputs (num_examples, ...), such as vectors (num_examples, numbers),
    signals (num_examples, channels, length), images (num_examples, channels, height, width) or
    sequences of symbols (num_examples, length)."""
    targets: str | None = None
    """Name of the array of targets (num_examples, ...). With None, networks predict the next symbol
    of a sequence: inputs are all its symbols but the last, targets all but the first."""
    test_inputs: str | None = None
    """Name of the array of test inputs. With None, `test_images` examples, which are drawn with
    `split_seed`, are the test examples."""
    test_targets: str | None = None
    """Name of the array of test targets; None where `targets` or `test_inputs` is None."""
    classes: int | None = None
    """Number of classes, or of symbols in targets; None if targets are floating-point numbers, or
    next symbols."""
    symbols: int | None = None
    """Number of symbols in inputs; None if inputs are numbers."""
    normalization: Normalization | None = None
    """Normalization of inputs that are numbers; None for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("inputs", "targets", "test_inputs", "test_targets"):
            if field == "inputs" or getattr(self, field) is not None:
                require_array_name(self, field)
        for field in ("classes", "symbols"):
            if getattr(self, field) is not None:
                require_count(self, field, 1)
        if self.normalization is not None:
            require_instance(self, "normalization", Normalization, "Normalization()")
        self._require_fitting_fields()

    def _require_fitting_fields(self) -> None:
        has_test_targets = self.targets is not None and self.test_inputs is not None
        rules = (
            (
                "test_targets",
                (self.test_targets is not None) == has_test_targets,
                "the name of an array if there are targets and test_inputs, and None otherwise",
            ),
            (
                "test_images",
                self.test_inputs is not None or self.test_images is not None,
                "the number of examples to test with, because there are no test_inputs",
            ),
            (
                "symbols",
                self.targets is not None or self.symbols is not None,
                "a number, because there are no targets, and networks predict the next symbol",
            ),
            (
                "classes",
                self.targets is not None or self.classes is None,
                "None, because there are no targets; symbols says how many symbols there are",
            ),
            (
                "normalization",
                self.symbols is None or self.normalization is None,
                "None, because symbols are not normalized",
            ),
        )
        for field, holds, allowed in rules:
            if not holds:
                value = getattr(self, field)
                owner = type(self).__name__
                raise ConfigurationError(f"{owner}.{field} = {value!r}: must be {allowed}")

    @property
    def name(self) -> str:
        """Name of the dataset in tables: the path of the inputs without its suffix."""
        return str(PurePosixPath(file_of(self.inputs)).with_suffix(""))

    @property
    def files(self) -> tuple[str, ...]:
        """Files of the arrays."""
        names = (self.inputs, self.targets, self.test_inputs, self.test_targets)
        return tuple(dict.fromkeys(file_of(name) for name in names if name is not None))

    def check(self, data_dir: Path) -> None:
        """Check the arrays, their types, shapes and numbers, and the sizes of the splits."""
        self.load(data_dir)

    def read(self, data_dir: Path) -> tuple[ArrayExamples, ArrayExamples, int]:
        """Read the arrays, or map them into memory."""
        train = self._examples(data_dir, self.inputs, self.targets, trained=True)
        outputs = self.classes or train.labels[0].numel()
        if self.targets is None:
            assert self.symbols is not None
            outputs = self.symbols
        if self.test_inputs is not None:
            test = self._examples(data_dir, self.test_inputs, self.test_targets)
            self._require_alike(train, test)
            return train, test, outputs
        assert self.test_images is not None
        if self.test_images >= len(train):
            raise ConfigurationError(
                f"{type(self).__name__}.test_images = {self.test_images}: must be less than "
                f"{len(train)}, the number of examples in the file"
            )
        tested, rest = self._permutation(len(train), 1).tensor_split([self.test_images])
        return train.take(rest.sort().values), train.take(tested), outputs

    def drawn_batch(
        self, images: ImageSet, indices: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Gather and normalize a batch of several trials; see `GatheredDataset.drawn_batch`.

        Raises:
            ConfigurationError: if large inputs have a number that does not fit.
        """
        assert isinstance(images, ArrayExamples)
        targets = images.labels[indices]
        rows = images.positions[indices.flatten().to(images.positions.device)]
        inputs = images.inputs[rows]
        numbers = images.normalization
        if self.symbols is not None:
            inputs = inputs.long()
        elif numbers is None or numbers[0].dtype is torch.float32:
            inputs = inputs.float()
        if images.is_large:
            self._require_fitting(f"{images.source}: row", inputs, rows.tolist())
            inputs = sent(inputs, targets.device)
        if numbers is not None:
            inputs = normalized(inputs, *numbers)
        inputs = inputs.unflatten(0, indices.shape)
        if self.targets is None:
            return inputs[..., :-1], inputs[..., 1:]
        return inputs, targets if targets.is_floating_point() else targets.long()

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Convert rows of an array, and normalize them with the numbers of the training examples.

        The arrays are read if `Normalization` has no numbers.
        """
        if self.symbols is not None:
            return examples.long()
        inputs = examples if examples.dim() > 1 else examples[:, None]
        if self.normalization is None:
            return inputs.float()
        if self.normalization.mean is None:
            train = self.load(data_dir).train
            assert isinstance(train, ArrayExamples)
            assert train.normalization is not None
            numbers = train.normalization
        else:
            numbers = self.normalization.numbers_for(tuple(inputs.shape[1:]), inputs.dtype)
        return normalized(inputs, *(number.to(inputs.device) for number in numbers))

    def draws_ahead(self, images: ImageSet) -> bool:
        """Whether the inputs are on the device."""
        assert isinstance(images, ArrayExamples)
        return super().draws_ahead(images) and images.inputs.device == images.labels.device

    @property
    def num_symbols(self) -> int | None:
        """Number of symbols in inputs."""
        return self.symbols

    def _split(self, train: ImageSet, test: ImageSet, num_classes: int) -> Splits:
        splits = super()._split(train, test, num_classes)
        examples = splits.train
        assert isinstance(examples, ArrayExamples)
        inputs, rows, at_once = examples.inputs, examples.positions, rows_at_once(examples.inputs)
        numbers: tuple[Tensor, ...] | None = None
        own = self.normalization
        if own is not None and own.mean is None:
            numbers = own.computed_from(inputs, rows, at_once)
        elif own is not None:
            numbers = own.numbers_for(tuple(inputs.shape[1:]), inputs.dtype)
        is_of_each = own is not None and own.mean is None and own.per_channel
        if self.symbols is None and not examples.is_large and not is_of_each:
            require_digits(self.inputs, inputs, rows, at_once, numbers)
        if numbers is None:
            return splits
        numbers = tuple(number.to(examples.labels.device) for number in numbers)
        train, validation, test = (
            replace(part, normalization=numbers)
            for part in (splits.train, splits.validation, splits.test)
            if isinstance(part, ArrayExamples)
        )
        return replace(splits, train=train, validation=validation, test=test)

    def _examples(
        self, data_dir: Path, inputs: str, targets: str | None, *, trained: bool = False
    ) -> ArrayExamples:
        """Read and check an array of inputs and one of targets, with which a network is trained."""
        rows = read_array(data_dir, inputs)
        if self.symbols is not None:
            require_number_of(self, "symbols", rows, "inputs")
        if rows.dim() == 1:
            if self.symbols is not None:
                raise ConfigurationError(
                    f"{data_dir / file_of(inputs)}: {inputs} has the shape {tuple(rows.shape)}; "
                    "must be sequences of symbols, one per row"
                )
            rows = rows[:, None]
        if not is_large(rows.nbytes):
            _in_parts(rows, lambda part, at: self._require_fitting(f"{inputs}: row", part, at))
        if targets is None:
            if rows.shape[1] < 2:
                raise ConfigurationError(
                    f"{data_dir / file_of(inputs)}: the sequences of {inputs} have 1 symbol; must "
                    "have at least 2, because networks predict the next one"
                )
            labels = torch.empty((len(rows), 0), dtype=torch.int64)
        else:
            labels = read_array(data_dir, targets)
            require_number_of(self, "classes", labels, "targets")
            if len(labels) != len(rows):
                raise ConfigurationError(
                    f"{data_dir / file_of(targets)}: {targets} has {len(labels)} rows, but "
                    f"{inputs} has {len(rows)}; each input must have its target"
                )
            if labels.is_floating_point():
                exact, labels = labels, as_targets(labels)
                require_finite(f"{targets}: row", labels, range(len(labels)))
                if trained:
                    exact = exact.view(*exact.shape, *labels.shape[exact.dim() :])
                    require_digits(targets, exact, torch.arange(len(exact)), rows_at_once(exact))
            elif self.classes is not None:
                require_in_range(f"{targets}: row", labels, self.classes, range(len(labels)))
        return ArrayExamples(inputs, rows, labels, torch.arange(len(rows)))

    def _require_fitting(self, what: str, inputs: Tensor, rows: Sequence[int] | range) -> None:
        """Check that numbers are finite as float32, or that symbols are in their range."""
        if self.symbols is not None:
            require_in_range(what, inputs, self.symbols, rows)
        elif inputs.is_floating_point():
            require_finite(what, inputs.float(), rows)

    def _require_alike(self, train: ArrayExamples, test: ArrayExamples) -> None:
        for what, own, other in (
            ("inputs", train.inputs, test.inputs),
            ("targets", train.labels, test.labels),
        ):
            if (found := _described(other)) != (wanted := _described(own)):
                field = f"test_{what}"
                raise ConfigurationError(
                    f"{type(self).__name__}.{field} = {getattr(self, field)!r}: has rows of "
                    f"{found}; must be rows of {wanted}, as the training {what} are"
                )


def _described(rows: Tensor) -> str:
    """Return the shape of a row and the kind of its numbers."""
    kind = "floating-point" if rows.is_floating_point() else "whole"
    return f"the shape {tuple(rows.shape[1:])} with {kind} numbers"


def _in_parts(rows: Tensor, check: Callable[[Tensor, range], None]) -> None:
    """Check a tensor part by part, so that checks of a large one need little memory."""
    first = 0
    for part in rows.split(rows_at_once(rows)):
        check(part, range(first, first + len(part)))
        first += len(part)
