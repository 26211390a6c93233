"""Any map-style Dataset of torch: the same batches in any process, and faults in one line."""

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from quantlab import ConfigurationError, OptimizerSpec, Quantization, Recipe, TrainingRun
from quantlab.datasets.base import Dimensions
from quantlab.datasets.torch_dataset import TorchDataset
from quantlab.models import ModelSpec
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.tasks.regression import Regression
from quantlab.training.rehearsal import rehearse
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.packs.test_packs import alone, assert_alike, packed

HERE = Path()


class Signals(Dataset[Any]):
    """Signals that are drawn once, and disturbed by all three generators when they are read."""

    def __init__(self, count: int, *, disturbed: bool = True) -> None:
        self.signals = torch.randn(count, 6, dtype=torch.float64)
        self.disturbed = disturbed

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, index: int) -> Any:
        signal = self.signals[index]
        target = float(signal.sum())
        if self.disturbed:
            signal = signal + torch.rand(6) + np.random.rand() + random.random()
        return signal, target


@dataclass(frozen=True, kw_only=True)
class OfSignals(TorchDataset):
    validation_images: int = 20
    cleaned: bool = True

    def train_dataset(self, data_dir: Path) -> Dataset[Any]:
        return Signals(80)

    def test_dataset(self, data_dir: Path) -> Dataset[Any]:
        return Signals(30, disturbed=False)

    def evaluation_dataset(self, data_dir: Path) -> Dataset[Any] | None:
        return Signals(80, disturbed=False) if self.cleaned else None


@dataclass(frozen=True)
class Net(ModelSpec):
    def build_for(self, dimensions: Dimensions) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def recipe(seed: int = 0, rho0: float = 0.02) -> Recipe:
    return Recipe(
        model=Net(),
        dataset=OfSignals(),
        optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.02)),
        quantization=Quantization(
            rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(rho0)
        ),
        epochs=2,
        batch_size=20,
        seed=seed,
        task=Regression(),
    )


def of_epoch(dataset: TorchDataset, seed: int | None, **options: Any) -> list[tuple[Tensor, ...]]:
    """The batches of the training split in one epoch; without augmentation if there is no seed."""
    train = dataset.load(HERE).train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return list(dataset.batches(train, batch_size=25, order=order, generator=generator, **options))


def next_numbers(seed: int, between: Any = None) -> tuple[float, ...]:
    """What the generators of the process draw after something else."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if between is not None:
        between()
    return random.random(), np.random.rand(), float(torch.rand(1))


def are_equal(first: list[tuple[Tensor, ...]], second: list[tuple[Tensor, ...]]) -> bool:
    return all(
        torch.equal(*pair)
        for batches in zip(first, second, strict=True)
        for pair in zip(*batches, strict=True)
    )


def test_batches_depend_on_the_seed_only() -> None:
    dataset = OfSignals()
    first = of_epoch(dataset, 1)
    expected = next_numbers(5)
    assert next_numbers(5, lambda: of_epoch(dataset, 1)) == expected
    assert are_equal(of_epoch(dataset, 1), first)
    assert are_equal(of_epoch(dataset, 1, workers=2), first)
    assert not are_equal(of_epoch(dataset, 2), first)
    assert not are_equal(of_epoch(dataset, None), first)
    assert are_equal(of_epoch(dataset, None), of_epoch(dataset, None))


def test_evaluation_reads_the_examples_that_are_not_augmented() -> None:
    dataset = OfSignals()
    splits = dataset.load(HERE)
    for part in (splits.train, splits.validation, splits.test):
        ((inputs, targets),) = dataset.batches(part, batch_size=100)
        torch.testing.assert_close(inputs.sum(1, keepdim=True), targets)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [60, 20, 30]
    noisy = replace(dataset, cleaned=False)
    ((inputs, targets),) = noisy.batches(noisy.load(HERE).validation, batch_size=100)
    assert (inputs.sum(1) > targets[:, 0]).all()


def test_training_and_test_examples_are_drawn_apart() -> None:
    splits = OfSignals().load(HERE)
    train, test = splits.train.source, splits.test.source  # type: ignore[attr-defined]
    assert not torch.isin(test.signals, train.signals).any()
    assert torch.equal(train.signals, splits.train.unchanged.signals)  # type: ignore[attr-defined]


def test_there_may_be_more_test_examples_than_training_examples() -> None:
    fewer = replace(OfSignals(), test_images=30).load(HERE)
    assert len(fewer.test) == 30
    with pytest.raises(ConfigurationError, match="test_images = 31: must be at most 30"):
        replace(OfSignals(), test_images=31).load(HERE)

    @dataclass(frozen=True, kw_only=True)
    class Few(OfSignals):
        cleaned: bool = False

        def train_dataset(self, data_dir: Path) -> Dataset[Any]:
            return Signals(25)

    assert len(Few(test_images=28).load(HERE).test) == 28


@dataclass(frozen=True, kw_only=True)
class OfFile(OfSignals):
    """As many signals as a file says."""

    @property
    def files(self) -> tuple[str, ...]:
        return ("count.txt",)

    def test_dataset(self, data_dir: Path) -> Dataset[Any]:
        return Signals(int((data_dir / "count.txt").read_text()))


def test_datasets_of_a_file_that_has_changed_are_built_again(tmp_path: Path) -> None:
    for count in (30, 40):
        (tmp_path / "count.txt").write_text(str(count))
        os.utime(tmp_path / "count.txt", ns=(count, count))
        assert len(OfFile().load(tmp_path).test) == count


def test_a_part_of_a_batch_is_read_alone() -> None:
    dataset = OfSignals()
    train = dataset.load(HERE).train
    wholes = dataset.batches(train, batch_size=25, generator=torch.Generator().manual_seed(3))
    parts = dataset.shared_batches(
        train,
        batch_size=25,
        share=lambda count: slice(count // 2, count),
        generator=torch.Generator().manual_seed(3),
    )
    cut = [tuple(each[len(each) // 2 :] for each in batch) for batch in wholes]
    assert are_equal(list(parts), cut)


def test_a_pack_trains_on_a_dataset_of_torch_as_alone() -> None:
    members = [recipe(seed, rho0) for seed, rho0 in ((0, 0.02), (1, 0.2), (2, 1.0))]
    rehearse(members[0], members[0].dataset.find_dimensions(HERE))
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-10)


def test_an_interrupted_training_goes_on_bit_for_bit() -> None:
    expected = TrainingRun(recipe())
    records = list(expected)
    first = TrainingRun(recipe())
    iterator = first.train(pause_steps=2)
    next(iterator)
    second = TrainingRun(recipe())
    second.load_state_dict(first.state_dict())
    for found, own in zip(second, records, strict=True):
        assert replace(found, seconds=0.0) == replace(own, seconds=0.0)
    for name, weight in expected.final_weights().items():
        assert torch.equal(second.final_weights()[name], weight)


class Listed(Dataset[Any]):
    """Given examples; an example that is an error is raised."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.examples[index], Exception):
            raise self.examples[index]
        return self.examples[index]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@dataclass(frozen=True, kw_only=True)
class Made(TorchDataset):
    """Examples that a test gives."""

    train: Any
    test: Any = None
    validation_images: int = 1

    def train_dataset(self, data_dir: Path) -> Any:
        return Listed(self.train) if isinstance(self.train, list) else self.train()

    def test_dataset(self, data_dir: Path) -> Any:
        return Listed(self.test or self.train) if isinstance(self.train, list) else self.train()


@dataclass(frozen=True, kw_only=True)
class Padded(Made):
    """Sequences of different lengths, which are padded with the symbol 0."""

    def collate(self, examples: list[Any]) -> tuple[Tensor, Tensor]:
        rows, targets = zip(*examples, strict=True)
        padded = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        return padded, torch.tensor(targets)


def raising() -> Any:
    raise KeyError("secret.wav")


ONES = torch.ones(3)
WRONG = [
    (
        Made(train=Endless),
        "Made.train_dataset returned a Endless, which is an IterableDataset; mus",
    ),
    (Made(train=lambda: 3), "Made.train_dataset returned a int; must return a torch.utils.data."),
    (Made(train=raising), "Made.train_dataset raises KeyError: 'secret.wav' ("),
    (Made(train=[]), "Made.validation_images + train_images = 2: must be at most 0"),
    (Made(train=[KeyError("x"), (ONES, 1.0)]), "Made: example 0 raises KeyError: 'x'"),
    (
        Made(train=[ONES] * 3),
        "the batch of 1 examples is a Tensor; must be inputs and targets, a p",
    ),
    (
        Made(train=[{"x": ONES}] * 3),
        "the batch of 1 examples is a dict; must be inputs and targets",
    ),
    (
        Made(train=[("x", 1.0)] * 3),
        "the batch of 1 examples is a pair of tuple and Tensor; must be",
    ),
    (Made(train=[(ONES, 1)] * 3), "Made.classes = None: must be how many classes there are, beca"),
    (Made(train=[(ONES, 1.0)] * 3, classes=2), "Made.classes = 2: must be None, because targets"),
    (Made(train=[(ONES.long(), 1.0)] * 3), "Made.symbols = None: must be how many symbols there"),
    (Made(train=[(ONES, 1.0)] * 3, symbols=2), "Made.symbols = 2: must be None, because inputs"),
    (Made(train=[(ONES, 3)] * 3, classes=3), "Made: the target of example 0 has 3, which is out"),
    (Made(train=[(ONES / 0, 1.0)] * 3), "Made: the input of example 0 has a number that is infini"),
    (
        Made(train=[(ONES, 1.0)] * 3, test=[(ONES, float("nan"))]),
        "Made: the target of example 0 has a number that is infinite or NaN; remove it",
    ),
]


@pytest.mark.parametrize(("dataset", "message"), WRONG, ids=[text[:50] for _, text in WRONG])
def test_a_dataset_that_does_not_fit_is_refused_before_training(
    dataset: Made, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        dataset.check(HERE)
    assert "\n" not in str(caught.value)


def test_an_unequal_evaluation_dataset_and_too_few_classes_are_refused() -> None:
    class Fewer(OfSignals):
        def evaluation_dataset(self, data_dir: Path) -> Dataset[Any]:
            return Signals(79)

    with pytest.raises(ConfigurationError, match=r"returned 79 examples; must return the 80 exa"):
        Fewer().check(HERE)
    with pytest.raises(ConfigurationError, match=r"OfSignals\.classes = 0: must be a whole num"):
        OfSignals(classes=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_faults_in_training_name_the_example(workers: int) -> None:
    """Of whatever a loader process meets, the line is that of this process."""
    good, bad = ([1, 2, 0], 1), ([1, 2, 5], 1)
    for example, message in (
        (bad, "Made: the input of example 2 has 5, which is out of range; must be from 0 to 2"),
        (([1], 1), "Made: the batch of the examples 0 to 3 raises "),
        (OSError("a.wav: gone"), "Made: example 2 raises OSError: a.wav: gone"),
    ):
        examples = [(torch.tensor(one[0]), one[1]) for one in (good, good)]
        third = example if isinstance(example, Exception) else (torch.tensor(example[0]), 1)
        dataset = Made(train=[*examples, third, examples[0]], test=examples, classes=2, symbols=3)
        dataset.check(HERE)
        train = dataset.load(HERE).train
        whole = replace(train, positions=torch.arange(4))  # type: ignore[type-var]
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            list(dataset.batches(whole, batch_size=4, workers=workers))


def test_collate_makes_batches_of_any_kind() -> None:
    dataset = Padded(train=[([1, 2], 0), ([3], 1), ([1], 0)], classes=2, symbols=4)
    dataset.check(HERE)
    ((inputs, targets),) = dataset.batches(dataset.load(HERE).test, batch_size=3)
    assert sorted(zip(inputs.tolist(), targets.tolist(), strict=True)) == [
        ([1, 0], 0),
        ([1, 2], 0),
        ([3, 0], 1),
    ]
    assert dataset.find_dimensions(HERE).num_symbols == 4
