"""Arrays in files: what the network gets is what the file says, and wrong files are refused."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, OptimizerSpec, Quantization, Recipe, TrainingRun
from quantlab.datasets import DatasetSpec, Splits
from quantlab.datasets.arrays import Arrays, Normalization
from quantlab.datasets.base import Dimensions
from quantlab.datasets.content import content_of
from quantlab.datasets.loading import array_files
from quantlab.models import ModelSpec
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.tasks import Task
from quantlab.tasks.classification import Classification
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from quantlab.training.rehearsal import rehearse
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.packs.test_packs import alone, assert_alike, packed

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(3, 2, (100, 4))
NUMBERS = np.stack([VECTORS.sum(1), VECTORS[:, 0]], axis=1)
CLASSES = RNG.integers(3, size=100)
TEXTS = RNG.integers(5, size=(100, 9)).cumsum(1) % 7
KINDS = {
    "numbers": Arrays(
        inputs="x.npy",
        targets="all.npz:numbers",
        test_images=20,
        validation_images=30,
        normalization=Normalization(),
    ),
    "classes": Arrays(
        inputs="all.npz:x", targets="c.npy", classes=3, test_images=20, validation_images=30
    ),
    "next symbols": Arrays(inputs="texts.npy", symbols=7, test_images=20, validation_images=30),
    "more classes than symbols": Arrays(
        inputs="texts.npy",
        symbols=7,
        targets="wide.npy",
        classes=12,
        test_images=20,
        validation_images=30,
    ),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", VECTORS)
    np.save(tmp_path / "c.npy", CLASSES.astype(np.uint8))
    np.save(tmp_path / "texts.npy", TEXTS.astype(np.uint8))
    np.save(tmp_path / "wide.npy", TEXTS + 5)
    np.savez(tmp_path / "all.npz", x=VECTORS.astype(np.float32), numbers=NUMBERS)
    return tmp_path


def whole(dataset: DatasetSpec, images: Any) -> tuple[Tensor, Tensor]:
    """A split as one batch."""
    (batch,) = dataset.batches(images, batch_size=1000)
    return batch


def all_of(dataset: DatasetSpec, splits: Splits) -> tuple[Tensor, Tensor]:
    parts = [whole(dataset, part) for part in (splits.train, splits.validation, splits.test)]
    inputs, targets = (torch.cat(each) for each in zip(*parts, strict=True))
    return inputs, targets


@pytest.mark.parametrize("kind", ["?", "u1", "i2", "u2", "<u4", ">i4", "i8", "f2", ">f4", "f8"])
def test_every_type_of_number_is_read_as_what_it_is(tmp_path: Path, kind: str) -> None:
    values = np.asfortranarray(np.arange(60).reshape(20, 3) % (2 if kind == "?" else 250))
    np.save(tmp_path / "x.npy", values.astype(kind))
    np.savez_compressed(tmp_path / "c.npz", y=np.arange(20).astype(kind if kind != "?" else "u1"))
    whole_numbers = kind == "?" or kind[-2] in "ui"
    dataset = Arrays(
        inputs="x.npy",
        targets="c.npz:y",
        classes=20 if whole_numbers else None,
        test_images=5,
        validation_images=5,
    )
    inputs, targets = all_of(dataset, dataset.load(tmp_path))
    assert inputs.dtype is torch.float32
    assert targets.dtype is (torch.int64 if whole_numbers else torch.float32)
    assert targets.shape == ((20,) if whole_numbers else (20, 1))
    order = targets.flatten().argsort()
    assert torch.equal(inputs[order], torch.from_numpy(values).float())


@pytest.mark.parametrize("validation_split", ["random", "last"])
def test_every_example_is_in_one_split(data: Path, validation_split: str) -> None:
    dataset = replace(KINDS["classes"], validation_split=validation_split)
    splits = dataset.load(data)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [50, 30, 20]
    inputs, targets = all_of(dataset, splits)
    rows = [VECTORS.astype(np.float32).tolist().index(row) for row in inputs.tolist()]
    assert sorted(rows) == list(range(100))
    assert targets.tolist() == CLASSES[rows].tolist()
    if validation_split == "last":
        assert max(rows[:50]) < min(rows[50:80])
    assert torch.equal(whole(dataset, splits.train)[0], inputs[:50])
    again = whole(dataset, splits.test.take(torch.tensor([3, 0])))[0]
    assert torch.equal(again, inputs[[83, 80]])


def test_test_files_are_the_test_split(data: Path) -> None:
    dataset = replace(KINDS["classes"], test_inputs="x.npy", test_targets="c.npy", test_images=None)
    splits = dataset.load(data)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [70, 30, 100]
    assert splits.test.labels.sum() == CLASSES.sum()
    assert dataset.files == ("all.npz", "c.npy", "x.npy")


@pytest.mark.parametrize("per_channel", [True, False])
def test_computed_normalization_is_that_of_the_training_examples(
    tmp_path: Path, per_channel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "_ROWS_AT_ONCE", 100)  # so that there are several parts
    signals = RNG.normal([[[5.0], [-1000.0]]], [[[2.0], [0.1]]], (80, 2, 6))
    np.savez(tmp_path / "s.npz", x=signals, y=np.arange(80) % 2)
    dataset = Arrays(
        inputs="s.npz:x",
        targets="s.npz:y",
        classes=2,
        test_images=20,
        validation_images=20,
        normalization=Normalization(per_channel=per_channel),
    )
    splits = dataset.load(tmp_path)
    rows = splits.train.positions.numpy()  # type: ignore[attr-defined]
    axes = (0, 2) if per_channel else None
    own = signals[rows]
    mean, std = own.mean(axes, keepdims=True), own.std(axes, keepdims=True)
    for part in (splits.train, splits.validation, splits.test):
        expected = (signals[part.positions.numpy()] - mean) / std  # type: ignore[attr-defined]
        inputs, _ = whole(dataset, part)
        np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-3, atol=1e-3)
    given = Normalization(tuple(mean.flatten()), tuple(std.flatten()))
    assert dataset.load(tmp_path) is splits
    same = replace(dataset, normalization=given)
    inputs, _ = whole(same, same.load(tmp_path).train)
    assert torch.equal(inputs, whole(dataset, splits.train)[0])


SECONDS = 1.7e9 + RNG.normal(0, 50, (100, 1))
LARGE_NUMBERS = {
    "seconds": SECONDS,
    "milliseconds": (SECONDS * 1000).astype(np.int64),
    "whole seconds": SECONDS.astype(np.int32),
    "seconds and numbers": np.concatenate([SECONDS, VECTORS], axis=1),
}


def vectors_at(folder: Path, values: Any, **fields: Any) -> Arrays:
    """A dataset of these inputs."""
    np.savez(folder / "v.npz", x=values, y=np.arange(len(values)) % 2)
    sizes: dict[str, Any] = {"test_images": 20, "validation_images": 20}
    return Arrays(inputs="v.npz:x", targets="v.npz:y", classes=2, **sizes | fields)


@pytest.mark.parametrize("large", [2**30, 10])
@pytest.mark.parametrize("values", LARGE_NUMBERS.values(), ids=LARGE_NUMBERS)
def test_large_numbers_are_normalized_before_they_lose_digits(
    tmp_path: Path, values: Any, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "LARGE", large)
    dataset = vectors_at(tmp_path, values, normalization=Normalization())
    splits = dataset.load(tmp_path)
    own = values[splits.train.positions.numpy()].astype(np.float64)  # type: ignore[attr-defined]
    expected = (own - own.mean(0)) / own.std(0)
    inputs, _ = whole(dataset, splits.train)
    assert inputs.dtype is torch.float32
    np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-5)
    rows = torch.from_numpy(values)[splits.train.positions]  # type: ignore[attr-defined]
    assert torch.equal(dataset.preprocess(rows, tmp_path), inputs)
    given = replace(dataset, normalization=Normalization(tuple(own.mean(0)), tuple(own.std(0))))
    torch.testing.assert_close(given.preprocess(rows, Path("/none")), inputs)
    found, _ = whole(given, given.load(tmp_path).train)
    assert torch.equal(found, given.preprocess(rows, Path("/none")))


@pytest.mark.parametrize(
    "values",
    [
        VECTORS,
        VECTORS + 1000,
        np.round(VECTORS) + 2**22,
        (np.round(VECTORS) + 2**22).astype(np.int64),
        np.round(VECTORS) * 2.0**30 + 2.0**52,
        (SECONDS * np.ones(4)).astype(np.float32),
    ],
)
def test_numbers_that_float32_has_are_normalized_in_float32(tmp_path: Path, values: Any) -> None:
    dataset = vectors_at(tmp_path, values, normalization=Normalization())
    splits = dataset.load(tmp_path)
    own = values[splits.train.positions.numpy()].astype(np.float64)  # type: ignore[attr-defined]
    own = torch.from_numpy(own)
    mean, std = own.numpy().mean(0), own.numpy().std(0)
    expected = (own.float() - torch.from_numpy(mean).float()) / torch.from_numpy(std).float()
    numbers = splits.train.normalization  # type: ignore[attr-defined]
    assert {number.dtype for number in numbers} == {torch.float32}
    np.testing.assert_allclose(whole(dataset, splits.train)[0], expected, rtol=1e-5)


def test_numbers_that_float32_merges_are_refused(tmp_path: Path) -> None:
    wrong = r"v.npz:x: the numbers in channel 0 differ by little for their size"
    both = np.concatenate([SECONDS, VECTORS], axis=1)
    pooled = Normalization(per_channel=False)
    for values, numbers in (
        (SECONDS, None),
        (LARGE_NUMBERS["milliseconds"], None),
        (SECONDS, Normalization((0,), (1,))),
        (both, pooled),
    ):
        dataset = vectors_at(tmp_path, values, normalization=numbers)
        with pytest.raises(ConfigurationError, match=wrong):
            dataset.load(tmp_path)
        (tmp_path / "v.npz").unlink()
    rare = np.zeros((100, 2), np.float32)
    rare[0] = 1
    for values in (rare, rare + 1000, rare.astype(np.int64) + 2**20, both.astype(np.float32)):
        vectors_at(tmp_path, values).load(tmp_path)
    np.savez(tmp_path / "n.npz", x=VECTORS, y=SECONDS[:, 0])
    targets = Arrays(inputs="n.npz:x", targets="n.npz:y", test_images=20, validation_images=20)
    with pytest.raises(ConfigurationError, match="numbers in channel 0 differ by little"):
        targets.load(tmp_path)


@pytest.mark.parametrize("value", [0.1, 0.7, 12.7, -3.3e8, 7])
def test_a_constant_has_no_standard_deviation(tmp_path: Path, value: float) -> None:
    values = np.full((101, 2), float(value))
    values[:, 0] = np.arange(101)
    dataset = vectors_at(tmp_path, values, normalization=Normalization())
    with pytest.raises(ConfigurationError, match=r"channel 1 of the training inputs is .* everyw"):
        dataset.load(tmp_path)
    values[:, 1] += np.arange(101) * np.spacing(values[:, 1])
    dataset = vectors_at(tmp_path, values, normalization=Normalization(), split_seed=1)
    with pytest.raises(ConfigurationError, match=r"channel 1 of the training inputs has the mean"):
        dataset.load(tmp_path)


def test_whole_numbers_that_torch_does_not_have_are_refused(tmp_path: Path) -> None:
    values = np.array([[2**63 - 1]] * 50, np.uint64)
    vectors_at(tmp_path, values).load(tmp_path)
    values[7] += np.uint64(1)
    dataset = vectors_at(tmp_path, values, split_seed=1)
    with pytest.raises(ConfigurationError, match=r"has the number 9223372036854775808; must be l"):
        dataset.load(tmp_path)


def test_a_given_deviation_is_not_0_as_float32() -> None:
    for std in (1e-300, 1e39):
        with pytest.raises(ConfigurationError, match=r"Normalization.std = .*> 0 and finite as fl"):
            Normalization((0,), (std,))


def test_the_next_symbol_is_the_target(data: Path) -> None:
    dataset = KINDS["next symbols"]
    splits = dataset.load(data)
    inputs, targets = whole(dataset, splits.train)
    assert inputs.dtype is targets.dtype is torch.int64
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert {tuple(row) for row in inputs.tolist()} <= {tuple(row[:-1]) for row in TEXTS.tolist()}
    assert dataset.find_dimensions(data) == Dimensions(
        7, (8,), torch.int64, (8,), torch.int64, num_symbols=7
    )
    np.save(data / "c.npy", CLASSES)
    named = replace(dataset, targets="c.npy", classes=3)
    dimensions = named.find_dimensions(data)
    assert (dimensions.num_classes, dimensions.target) == (3, ())
    assert set(dimensions.random_inputs(50).unique().tolist()) == set(range(7))


@pytest.mark.parametrize("dataset", KINDS.values(), ids=KINDS)
def test_a_file_that_is_mapped_gives_the_same_batches(
    data: Path, dataset: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_of(dataset, dataset.load(data))
    monkeypatch.setattr(array_files, "LARGE", 10)
    mapped = replace(dataset)
    splits = mapped.load(data.parent / data.name / ".")  # another folder to the cache
    train, _, _ = mapped.read(data)
    assert train.is_large
    for found, own in zip(all_of(mapped, splits), expected, strict=True):
        assert torch.equal(found, own)


@dataclass(frozen=True)
class Net(ModelSpec):
    """A network in float64 for numbers or symbols."""

    symbols: int | None = None

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        outputs = dimensions.num_classes
        if self.symbols:
            return nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, outputs)).double()
        hidden = nn.Linear(dimensions.input[0], 8)
        return nn.Sequential(Doubled(), hidden, nn.Tanh(), nn.Linear(8, outputs)).double()


class Doubled(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.double()


TASKS: dict[str, Task] = {
    "numbers": Regression(),
    "classes": Classification(),
    "next symbols": LanguageModelling("symbol"),
    "more classes than symbols": LanguageModelling("symbol"),
}


def recipe(kind: str, seed: int = 0, rho0: float = 0.02) -> Recipe:
    return Recipe(
        model=Net(symbols=KINDS[kind].symbols),
        dataset=KINDS[kind],
        optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.02)),
        quantization=Quantization(
            rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(rho0)
        ),
        epochs=3,
        batch_size=20,
        seed=seed,
        task=TASKS[kind],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_trains_on_arrays_as_alone(
    data: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    (data / "data").symlink_to(data)
    members = [recipe(kind, seed, rho0) for seed, rho0 in ((0, 0.02), (1, 0.2), (2, 1.0))]
    rehearse(members[0], members[0].dataset.find_dimensions(data))
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_training_on_arrays_goes_on_bit_for_bit(data: Path, kind: str) -> None:
    expected = TrainingRun(recipe(kind), data_dir=data)
    records = list(expected)
    first = TrainingRun(recipe(kind), data_dir=data)
    iterator = first.train(pause_steps=2)
    next(iterator)
    second = TrainingRun(recipe(kind), data_dir=data)
    second.load_state_dict(first.state_dict())
    for found, own in zip(second, records, strict=True):
        assert replace(found, seconds=0.0) == replace(own, seconds=0.0)
    for name, weight in expected.final_weights().items():
        assert torch.equal(second.final_weights()[name], weight)


NAMED: dict[str, Any] = {"inputs": "x.npy", "validation_images": 3, "test_images": 3}
FIELDS = [
    ({"inputs": "x.csv"}, "Arrays.inputs = 'x.csv': must be the name of a .npy file, or"),
    ({"inputs": "x.npz"}, "Arrays.inputs = 'x.npz': must name an array of the file too"),
    ({"inputs": "/x.npy"}, "Arrays.inputs = '/x.npy': must be a name within the data folder"),
    ({"targets": "y.npy:y"}, "Arrays.targets = 'y.npy:y': must be the name of a .npy file, or"),
    ({}, "Arrays.symbols = None: must be a number, because there are no targets"),
    ({"targets": "y.npy", "test_images": None}, "Arrays.test_images = None: must be the number"),
    ({"targets": "y.npy", "test_inputs": "t.npy"}, "Arrays.test_targets = None: must be the name"),
    ({"symbols": 3, "test_targets": "y.npy"}, "Arrays.test_targets = 'y.npy': must be the name"),
    ({"symbols": 3, "classes": 3}, "Arrays.classes = 3: must be None, because there are no"),
    ({"symbols": 0}, "Arrays.symbols = 0: must be a whole number >= 1"),
    ({"symbols": 3, "normalization": Normalization()}, "Arrays.normalization = Normalization"),
    ({"targets": "y.npy", "normalization": 1}, "Arrays.normalization = 1: must be an instance"),
]


@pytest.mark.parametrize(("fields", "message"), FIELDS, ids=[text for _, text in FIELDS])
def test_fields_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Arrays(**(NAMED | fields))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalization(mean=(0.0,)), r"Normalization\.std = None: must have numbers"),
        (
            lambda: Normalization((0.0,), (0.0,)),
            r"Normalization\.std = \(0\.0,\): must be num",
        ),
        (lambda: Normalization((np.nan,), (1.0,)), r"Normalization\.mean = \(nan,\): must be"),
        (lambda: Normalization((1, 2), (1,)), r"Normalization\.std = \(1\.0,\): must have as many"),
        (lambda: Normalization(per_channel=1), r"Normalization\.per_channel = 1: must be True"),  # type: ignore[arg-type]
    ],
)
def test_a_normalization_that_does_not_fit_is_refused(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def with_value(array: Any, place: Any, value: Any) -> Any:
    changed = array.copy()
    changed[place] = value
    return changed


CONSTANT = with_value(VECTORS, (slice(None), 2), 7)
WRONG = [
    ("numbers", "x.npy", None, "x.npy: does not exist; put the file there"),
    ("numbers", "x.npy", b"text", "x.npy: is not a readable file of NumPy arrays of numbers ("),
    ("numbers", "all.npz", b"PK", "all.npz: is not a readable file of NumPy arrays of numbers ("),
    ("numbers", "all.npz", {"x": VECTORS}, "all.npz: has no array 'numbers'; must be one of x"),
    ("numbers", "x.npy", VECTORS.astype(object), "x.npy: is not a readable file of NumPy arrays"),
    ("numbers", "x.npy", VECTORS.astype("U"), "x.npy: x.npy has the type <U"),
    ("numbers", "x.npy", VECTORS + 1j, "x.npy: x.npy has the type complex128; must be numbers"),
    ("numbers", "x.npy", np.float64(3), "x.npy: x.npy has the shape (); must have one row per"),
    ("numbers", "x.npy", VECTORS[:0], "x.npy: x.npy has the shape (0, 4); must have one row per"),
    ("numbers", "x.npy", VECTORS[:70], "all.npz: all.npz:numbers has 100 rows, but x.npy has 70"),
    ("numbers", "x.npy", VECTORS[:10], "all.npz: all.npz:numbers has 100 rows, but x.npy has 10"),
    ("numbers", "x.npy", with_value(VECTORS, (7, 1), np.nan), "x.npy: row 7 has a number that is"),
    ("numbers", "x.npy", with_value(VECTORS, (9, 0), 1e39), "x.npy: row 9 has a number that is"),
    ("numbers", "x.npy", CONSTANT, "channel 2 of the training inputs is 7 everywhere"),
    (
        "numbers",
        "all.npz",
        {"numbers": with_value(NUMBERS, (5, 0), np.inf)},
        "all.npz:numbers: row 5 has a number that is infinite or NaN; remove it",
    ),
    (
        "numbers",
        "all.npz",
        {"numbers": CLASSES},
        "Arrays.classes = None: must be how many classes there are, because targets are whole",
    ),
    (
        "classes",
        "c.npy",
        NUMBERS,
        "Arrays.classes = 3: must be None, because targets are floating-point numbers",
    ),
    (
        "classes",
        "c.npy",
        with_value(CLASSES, 8, 3),
        "c.npy: row 8 has 3, which is out of range; must be from 0 to 2",
    ),
    (
        "next symbols",
        "texts.npy",
        with_value(TEXTS, (4, 5), -1),
        "texts.npy: row 4 has -1, which is out of range; must be from 0 to 6",
    ),
    (
        "next symbols",
        "texts.npy",
        VECTORS,
        "Arrays.symbols = 7: must be None, because inputs are floating-point numbers",
    ),
    ("next symbols", "texts.npy", TEXTS[:, 0], "must be sequences of symbols, one per row"),
    ("next symbols", "texts.npy", TEXTS[:, :1], "the sequences of texts.npy have 1 symbol"),
    ("next symbols", "texts.npy", TEXTS[:20], "Arrays.test_images = 20: must be less than 20"),
    ("next symbols", "texts.npy", TEXTS[:40], "Arrays.validation_images + train_images = 31"),
]


@pytest.mark.parametrize(
    ("kind", "file", "content", "message"), WRONG, ids=[line[-1][:60] for line in WRONG]
)
def test_files_that_do_not_fit_are_refused(
    data: Path, kind: str, file: str, content: Any, message: str
) -> None:
    (data / file).unlink()
    if isinstance(content, bytes):
        (data / file).write_bytes(content)
    elif isinstance(content, dict):
        np.savez(data / file, **content)
    elif content is not None:
        np.save(data / file, content)
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        KINDS[kind].check(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(np.uint8, 256), (np.uint8, 50257), (np.int8, 128), (np.int16, 50257), (np.int16, 2**15)],
)
def test_a_type_need_not_have_the_number_of_symbols(
    tmp_path: Path, kind: type[np.integer], count: int
) -> None:
    most = int(np.iinfo(kind).max)
    np.save(tmp_path / "texts.npy", np.array([[0, most]] * 4, dtype=kind))
    np.save(tmp_path / "c.npy", np.array([0, most, 1, 2], dtype=kind))
    shared = {"inputs": "texts.npy", "symbols": count, "test_images": 1, "validation_images": 0}
    for fields in ({}, {"targets": "c.npy", "classes": count}):
        splits = Arrays(**shared, **fields).load(tmp_path)
        assert splits.num_classes == count
    with pytest.raises(ConfigurationError, match=f"c.npy: row 1 has {most}, which is out of range"):
        Arrays(**shared, targets="c.npy", classes=most).load(tmp_path)


def test_a_file_that_was_replaced_is_read_again_in_the_same_process(data: Path) -> None:
    dataset = replace(KINDS["numbers"], targets="y.npy", normalization=None)
    file = data / "y.npy"
    found = []
    for number in (1, 2):
        np.save(file, np.full(100, number, dtype=np.float32))
        os.utime(file, ns=(number, number))
        splits = dataset.load(data)
        assert dataset.load(data) is splits
        assert (splits.train.labels == number).all()
        found.append(content_of(dataset, data))
    assert found[0] != found[1]


def test_test_files_of_another_kind_are_refused(data: Path) -> None:
    dataset = replace(
        KINDS["classes"], test_inputs="texts.npy", test_targets="c.npy", test_images=None
    )
    with pytest.raises(ConfigurationError, match=r"Arrays.test_inputs = 'texts.npy': has rows of"):
        dataset.check(data)
    numbers = replace(KINDS["numbers"], normalization=Normalization((1, 2), (1, 2)))
    with pytest.raises(ConfigurationError, match=r"must have 1 number or 4, one per channel of"):
        numbers.check(data)


@pytest.mark.parametrize(
    ("kind", "file", "content", "message"),
    [
        ("classes", "x.npy", with_value(VECTORS, (7, 1), np.nan), "x.npy: row 7 has a number"),
        ("next symbols", "texts.npy", with_value(TEXTS, (7, 1), 9), "texts.npy: row 7 has 9, "),
    ],
)
def test_numbers_in_a_mapped_file_are_checked_when_they_are_read(
    data: Path, kind: str, file: str, content: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "LARGE", 10)
    np.save(data / file, content)
    dataset = replace(KINDS[kind], inputs=file)
    splits = dataset.load(data)
    with pytest.raises(ConfigurationError, match=message):
        all_of(dataset, splits)
    if kind == "classes":
        tested = replace(
            KINDS[kind], test_inputs=file, test_targets="c.npy", test_images=None, split_seed=1
        )
        with pytest.raises(ConfigurationError, match=message):
            all_of(tested, tested.load(data))
        normalized = replace(dataset, normalization=Normalization())
        with pytest.raises(ConfigurationError, match="Normalization: the training inputs have nu"):
            normalized.load(data)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("large", [2**30, 10])
@pytest.mark.parametrize("dataset", KINDS.values(), ids=KINDS)
def test_batches_on_a_gpu_are_those_of_the_cpu(
    data: Path, dataset: Arrays, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "LARGE", large)
    there = dataset.load(data, "cuda")
    assert dataset.draws_ahead(there.train) == (large > 10)
    found, expected = all_of(dataset, there), all_of(dataset, dataset.load(data))
    for own, other in zip(found, expected, strict=True):
        assert own.is_cuda
        assert torch.equal(own.cpu(), other)


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        ("numbers", Classification(), "Classification: targets have the type torch.float32 and"),
        ("numbers", LanguageModelling(), "LanguageModelling: targets have the type torch.float32"),
        ("classes", LanguageModelling(), r"LanguageModelling: targets have the type torch.int64 a"),
        ("classes", Regression(), r"Regression: targets have the type torch.int64; must be fl"),
    ],
)
def test_a_task_that_does_not_fit_the_targets_is_refused_before_training(
    data: Path, kind: str, task: Task, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rehearse(replace(recipe(kind), task=task), KINDS[kind].find_dimensions(data))
