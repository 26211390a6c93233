"""TorchDataset, the base class of datasets that a `torch.utils.data.Dataset` reads."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from quantlab.datasets.base import DatasetSpec, ImageSet, Splits
from quantlab.datasets.loading.checks import (
    as_targets,
    naming_errors,
    require_batch,
    require_finite,
    require_in_range,
    require_number_of,
)
from quantlab.datasets.loading.files import versions_of
from quantlab.datasets.loading.global_generators import kept_generators, seed_generators
from quantlab.datasets.loading.loader import Batch, loaded_batches, positions_of_batches
from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count
from quantlab.remembering import remembering


@dataclass(frozen=True)
class TorchExamples:
    """Examples of a `torch.utils.data.Dataset`, which are read when a batch needs them."""

    source: "Dataset[Any]"
    """The dataset that training reads."""
    unchanged: "Dataset[Any]"
    """The same examples without augmentation, which evaluation reads."""
    positions: Tensor
    """(num_examples,) int64 positions in both, on the CPU."""
    device: torch.device
    """Device to which batches are copied."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def labels(self) -> Tensor:
        """No targets, because they are not known before the examples are read."""
        return torch.empty(0, dtype=torch.int64, device=self.device)

    def take(self, indices: Tensor) -> "TorchExamples":
        """Return the examples at the given positions."""
        return replace(self, positions=self.positions[indices.cpu()])


@dataclass(frozen=True, kw_only=True)
class TorchDataset(DatasetSpec):
    """Examples of any map-style `torch.utils.data.Dataset`: pairs of an input and a target.

    A subclass defines `train_dataset` and `test_dataset`. Validation examples are held out of the
    training dataset. Random numbers that an example draws from the generators of Python, NumPy and
    torch depend on the epoch's seed and the position of the example only, so that neither the
    number of loader processes nor a resumption changes them; evaluation draws the same every time.
    Those that `train_dataset` and `test_dataset` draw are the same in every process.

    Inputs keep their dtype. Whole numbers in targets are classes or symbols, and those in inputs
    symbols. Floating-point targets get the dtype of the inputs, and a single number the shape (1,).
    """

    classes: int | None = None
    """Number of classes of the targets, or of symbols in them; None if targets are floating-point
    numbers."""
    symbols: int | None = None
    """Number of symbols in the inputs; None if inputs are floating-point numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("classes", "symbols"):
            if getattr(self, field) is not None:
                require_count(self, field, 1)

    @property
    def num_symbols(self) -> int | None:
        """Number of symbols in the inputs."""
        return self.symbols

    @abstractmethod
    def train_dataset(self, data_dir: Path) -> "Dataset[Any]":
        """Return the training examples, augmented if wanted.

        Args:
            data_dir: the data folder.
        """

    @abstractmethod
    def test_dataset(self, data_dir: Path) -> "Dataset[Any]":
        """Return the test examples.

        Args:
            data_dir: the data folder.
        """

    def evaluation_dataset(self, data_dir: Path) -> "Dataset[Any] | None":
        """Return the training examples without augmentation, in the same order.

        Validation examples are among them. By default they are those of `train_dataset`.

        Args:
            data_dir: the data folder.

        Returns:
            A dataset of as many examples as `train_dataset` has; None for `train_dataset` itself.
        """
        return None

    def collate(self, examples: list[Any]) -> Batch:
        """Return examples as a batch: inputs (batch, ...) and targets (batch, ...).

        By default it stacks them as torch does. It is called in loader processes.

        Args:
            examples: what the dataset returned for each position.
        """
        batch: Batch = default_collate(examples)
        return batch

    def check(self, data_dir: Path) -> None:
        """Check that the datasets can be built and read, and that they have enough examples."""
        splits = self.load(data_dir)
        next(self.batches(splits.test, batch_size=1))

    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """Return the splits as positions. The last four results are cached in the process.

        The datasets are built again if one of `files` has changed; in a folder, if it has other
        entries.
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
    ) -> Iterator[Batch]:
        """Yield batches; see `DatasetSpec.batches`.

        Raises:
            ConfigurationError: if the user's code raises an error, or if it returns something other
                than inputs and targets in their range.
            LostProcessError: if a loader process was killed.
        """
        positions = positions_of_batches(len(images), batch_size, order)
        return self._loaded(images, positions, generator, workers)

    def shared_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        share: Callable[[int], slice],
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield a part of each batch, and read no other examples; see `batches`."""
        batches = positions_of_batches(len(images), batch_size, order)
        parts = [batch[share(len(batch))] for batch in batches]
        return self._loaded(images, parts, generator, workers)

    def _loaded(
        self,
        images: ImageSet,
        batches: Sequence[list[int]],
        generator: torch.Generator | None,
        workers: int,
    ) -> Iterator[Batch]:
        assert isinstance(images, TorchExamples)
        read = _Reader(self, images, None if generator is None else generator.initial_seed())
        device = images.device
        for inputs, targets in loaded_batches(read, batches, device=device, workers=workers):
            yield (
                inputs.to(device, non_blocking=True),
                targets.to(device, non_blocking=True),
            )

    def _required(self, built: object, method: str) -> "Dataset[Any]":
        """Check what a method of the subclass returned."""
        what = f"{type(self).__name__}.{method} returned a {type(built).__name__}"
        if isinstance(built, IterableDataset):
            raise ConfigurationError(
                f"{what}, which is an IterableDataset; must return a map-style dataset, with "
                "__len__ and __getitem__, because training draws examples by their positions"
            )
        if not (hasattr(built, "__len__") and hasattr(built, "__getitem__")):
            raise ConfigurationError(
                f"{what}; must return a torch.utils.data.Dataset with __len__ and __getitem__"
            )
        return built  # type: ignore[return-value]

    def _built(self, data_dir: Path, method: str) -> Any:
        """Call a method of the subclass."""
        with naming_errors(f"{type(self).__name__}.{method}"), kept_generators():
            seed_generators(int(method == "test_dataset"))  # both others have the same examples
            return getattr(self, method)(data_dir)

    def _examples(self, data_dir: Path, device: torch.device) -> tuple[TorchExamples, ...]:
        train, test = (
            self._required(self._built(data_dir, method), method)
            for method in ("train_dataset", "test_dataset")
        )
        unchanged = self._built(data_dir, method := "evaluation_dataset")
        if unchanged is None:
            unchanged = train
        elif len(self._required(unchanged, method)) != len(train):  # type: ignore[arg-type]
            raise ConfigurationError(
                f"{type(self).__name__}.{method} returned {len(unchanged)} examples; must return "
                f"the {len(train)} examples of train_dataset"  # type: ignore[arg-type]
            )
        return tuple(
            TorchExamples(source, plain, torch.arange(len(source)), device)  # type: ignore[arg-type]
            for source, plain in ((train, unchanged), (test, test))
        )

    def _num_outputs(self, train: TorchExamples, test: TorchExamples) -> int:
        """Return the number of classes, or of numbers in a target, from the first example."""
        self._check_sizes(len(train), len(test))
        inputs, targets = _Reader(self, train, None)([0])
        require_number_of(self, "symbols", inputs, "inputs")
        require_number_of(self, "classes", targets, "targets")
        return self.classes or targets[0].numel()


@remembering(4)
def _load(spec: TorchDataset, data_dir: Path, device: torch.device, versions: object) -> Splits:
    train, test = spec._examples(data_dir, device)
    return spec._split(train, test, spec._num_outputs(train, test))


class _Reader:
    """Reads and checks batches of a dataset."""

    def __init__(self, spec: TorchDataset, examples: TorchExamples, seed: int | None) -> None:
        """Choose the dataset.

        Args:
            spec: the specification, which collates examples.
            examples: the examples.
            seed: seed of the epoch; None for evaluation.
        """
        self._spec = spec
        self._source: Any = examples.unchanged if seed is None else examples.source
        self._positions = examples.positions
        self._seed = 0 if seed is None else seed

    def __call__(self, positions: list[int]) -> Batch:
        at = self._positions[positions].tolist()
        name = self._spec.name
        with kept_generators():
            examples = []
            for position in at:
                seed_generators(self._seed, position)
                with naming_errors(f"{name}: example {position}"):
                    examples.append(self._source[position])
            with naming_errors(f"{name}: the batch of the examples {at[0]} to {at[-1]}"):
                batch = self._spec.collate(examples)
        inputs, targets = require_batch(name, batch, len(at))
        floating = inputs.dtype if inputs.is_floating_point() else torch.float32
        targets = as_targets(targets, floating)
        for what, values, count in (
            ("input", inputs, self._spec.symbols),
            ("target", targets, self._spec.classes),
        ):
            if values.is_floating_point():
                require_finite(f"{name}: the {what} of example", values, at)
            elif count is not None:
                require_in_range(f"{name}: the {what} of example", values, count, at)
        return inputs, targets
