"""`sweeps verify`: finished trials whose data, networks or records have changed are found."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantlab.datasets import content
from sweeps.cli import main
from sweeps.loading import load_sweep
from sweeps.spec import Cell
from sweeps.storage import Storage
from sweeps.worker.trial import run_trial
from tests.sweeps.trial_files import ended

FILE = """
from dataclasses import dataclass
import torch
from torch import nn
from torch.utils.data import TensorDataset
from quantlab import OptimizerSpec, Recipe
from quantlab.datasets import Images, InMemoryDataset
from quantlab.datasets.arrays import Arrays
from quantlab.datasets.torch_dataset import TorchDataset
from quantlab.models.mlp import MLP
from quantlab.schedules import Constant
from sweeps.spec import Block, SweepSpec

@dataclass(frozen=True, kw_only=True)
class Random(TorchDataset):
    classes: int = 2
    validation_images: int = 4

    def train_dataset(self, data_dir):
        inputs = torch.load(data_dir / "x.pt")
        return TensorDataset(inputs, torch.arange(len(inputs)) % 2)

    test_dataset = train_dataset

@dataclass(frozen=True, kw_only=True)
class Own(InMemoryDataset):
    validation_images: int = 4
    mean: tuple = (0.5,)
    std: tuple = (0.5,)
    num_channels = 1

    def check(self, data_dir):
        pass

    def read(self, data_dir):
        pixels = torch.load(data_dir / "x.pt").to(torch.uint8)
        images = Images(pixels, torch.arange(len(pixels)) % 2)
        return images, images, 2

ARRAYS = Arrays(
    inputs="x.npy", targets="y.npy", classes=2, test_images=6, validation_images=4
)
BASE = Recipe(
    model=MLP(image_size=4, hidden=(4,)),
    dataset=ARRAYS,
    optimizer=OptimizerSpec(learning_rate=Constant(0.1)),
    epochs=1,
    batch_size=10,
)
SWEEP = SweepSpec(
    name="own",
    blocks=(
        Block("arrays", base=BASE),
        Block("torch", base=BASE, overrides={"dataset": Random()}),
        Block("own", base=BASE, overrides={"dataset": Own()}),
    ),
    seeds=(0,),
)
"""


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, dict[str, Cell]]:
    """A folder with data and a finished trial of each dataset."""
    write_data(tmp_path)
    (tmp_path / "own.py").write_text(FILE)
    cells = {cell.block: cell for cell in load_sweep(str(tmp_path / "own.py")).cells}
    for cell in cells.values():
        run_trial(cell.recipe, Storage(tmp_path).trial(cell.fingerprint), data_dir=tmp_path)
    return tmp_path, cells


def write_data(folder: Path, last: float = 0.0) -> None:
    import torch

    values = np.random.default_rng(0).integers(200, size=(30, 1, 4, 4)).astype(np.float32)
    values[-1, 0, 3, 3] = last
    np.save(folder / "x.npy", values)
    np.save(folder / "y.npy", np.arange(30) % 2)
    torch.save(torch.from_numpy(values), folder / "x.pt")


def command(name: str, folder: Path) -> list[str]:
    return [name, str(folder / "own.py"), "--storage", str(folder), "--data", str(folder)]


def lines_of(folder: Path, capsys: pytest.CaptureFixture[str], *, code: int) -> list[str]:
    """The lines on standard error of a verification, in what would be a new process."""
    content._of_files.cache_clear()
    for module in ("gathered", "torch_dataset"):
        forget(module)
    capsys.readouterr()
    assert main(command("verify", folder)) == code
    found = capsys.readouterr()
    problems = found.err.splitlines()
    what = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    assert re.search(rf"^own: \d finished trials?, {what}$", found.out, re.MULTILINE)
    return problems


def forget(module: str) -> None:
    """Load datasets again, which this process would have kept."""
    import importlib

    load = importlib.import_module(f"quantlab.datasets.{module}")._load
    (kept,) = [
        cell.cell_contents for cell in load.__closure__ if isinstance(cell.cell_contents, list)
    ]
    kept.clear()


def test_data_of_every_kind_is_compared(
    trained: tuple[Path, dict[str, Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cells = trained
    assert lines_of(folder, capsys, code=0) == []
    results = [Storage(folder).trial(cell.fingerprint).result.read() for cell in cells.values()]
    found = {result.data_content for result in results if result is not None}
    assert len(found) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in found)
    write_data(folder, last=7.0)
    problems = lines_of(folder, capsys, code=1)
    for name, line in zip(("x", "Random", "Own"), problems, strict=True):
        start = f"sweeps: error: data of {name}: finished trials were trained on other data ("
        assert line.startswith(start)
    assert main(command("plan", folder)) == 0
    assert [line.replace("warning", "error") for line in capsys.readouterr().err.splitlines()] == (
        problems
    )
    write_data(folder)
    assert lines_of(folder, capsys, code=0) == []


def test_data_that_cannot_be_read_is_a_problem(
    trained: tuple[Path, dict[str, Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained
    for name in ("x.npy", "y.npy", "x.pt"):
        (folder / name).unlink()
    arrays, torch_dataset, own = lines_of(folder, capsys, code=1)
    assert arrays == f"sweeps: error: data of x: {folder} has no x.npy, y.npy; put the data there"
    assert "data of Random: cannot be read (Random.train_dataset raises FileNotFoundError" in (
        torch_dataset
    )
    assert "data of Own: cannot be read (" in own


def test_networks_of_other_sweeps_are_checked(
    trained: tuple[Path, dict[str, Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cells = trained
    parent = Storage(folder).trial(cells["arrays"].fingerprint)
    (folder / "own.py").write_text(
        FILE.replace("SWEEP = ", "FIRST = ")
        + f"""
from quantlab.initial_weights import TrialWeights
CHILD = {{"initial_weights": TrialWeights("{parent.fingerprint}")}}
SWEEP = SweepSpec(name="own", blocks=(Block("child", base=BASE, overrides=CHILD),), seeds=(0,))
"""
    )
    (child,) = load_sweep(str(folder / "own.py")).cells
    run_trial(child.recipe, Storage(folder).trial(child.fingerprint), data_dir=folder)
    assert lines_of(folder, capsys, code=0) == []
    parent.weights.unlink()
    (line,) = lines_of(folder, capsys, code=1)
    start = f"sweeps: error: trial {parent.fingerprint}, whose network child seed=0 needed: its "
    assert line.startswith(start)


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("weights.pt", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "is damaged, or"),
    ("weights.pt", lambda path: path.unlink(), "weights.pt is missing; to train the trial again"),
    ("result.json", lambda path: path.write_text("{}\n"), "result.json: is damaged"),
    ("history.jsonl", lambda path: path.write_text(""), "history.jsonl: has 0 of 1 epochs"),
]


@pytest.mark.parametrize(("file", "damage", "message"), DAMAGES, ids=[d[-1] for d in DAMAGES])
def test_damaged_files_are_problems(
    trained: tuple[Path, dict[str, Cell]],
    capsys: pytest.CaptureFixture[str],
    file: str,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    folder, cells = trained
    damage(Storage(folder).trial(cells["torch"].fingerprint).path / file)
    (line,) = lines_of(folder, capsys, code=1)
    assert message in line


def test_what_is_not_compared_is_said(
    trained: tuple[Path, dict[str, Cell]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, cells = trained
    monkeypatch.setattr(content, "MOST_BYTES", 10)
    monkeypatch.setattr(content, "MOST_EXAMPLES", 10)
    monkeypatch.setattr(content, "SAMPLED", 4)
    Storage(folder).trial(cells["own"].fingerprint).result.write(ended())
    for cell in (cells["arrays"], cells["torch"]):
        file = Storage(folder).trial(cell.fingerprint).path
        for path in file.glob("*.*"):
            path.unlink()
        run_trial(cell.recipe, Storage(folder).trial(cell.fingerprint), data_dir=folder)
    content._of_files.cache_clear()
    main(command("verify", folder))
    unknown, arrays, torch_dataset, _ = capsys.readouterr().out.splitlines()
    assert unknown.startswith("the data of 1 finished trial is not compared, because an earlier")
    assert arrays == "data of x: of its 0.0 GiB of files, names and sizes are compared"
    assert torch_dataset == "data of Random: of its 60 examples, 4 of each split are compared"
