"""The sweeps in `examples/` are short, and do what they say."""

import ast
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from quantlab import TrainingRun, override
from sweeps.loading import load_sweep
from sweeps.planning.preflight import check_without_data, preflight
from sweeps.spec import Cell
from sweeps.storage import Storage
from sweeps.worker.trial import run_trial

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_LINES = 30


def diabetes(folder: Path) -> None:
    """What the docstring of the example makes."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    np.savez(folder / "diabetes.npz", x=inputs, y=targets / 100)


def nothing(folder: Path) -> None:
    """The example needs no data."""


SWEEPS: dict[str, tuple[Callable[[Path], None], str, float]] = {
    "regression_on_arrays": (diabetes, "mean_squared_error", 0.593),  # the variance of the targets
    "signals": (nothing, "accuracy", 0.4),  # of chance, 1/3
}
"""Example -> what makes its data, its main metric, and a value that a network must beat."""


def lines_of_code(text: str) -> int:
    """Number of lines that are neither empty nor part of a docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documented |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), start=1)
    return len([number for number, line in lines if line.strip() and number not in documented])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_sweep_is_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "SWEEP = " not in text or lines_of_code(text) <= MOST_LINES


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_passes_the_checks_before_training_and_learns(name: str, tmp_path: Path) -> None:
    make_data, metric, threshold = SWEEPS[name]
    make_data(tmp_path)
    sweep, storage = load_sweep(str(EXAMPLES / f"{name}.py")), Storage(tmp_path)
    check_without_data(sweep.cells)
    preflight(list(sweep.cells), storage, tmp_path)
    firsts: dict[str, Cell] = {}
    for cell in sweep.cells:
        firsts.setdefault(cell.block, cell)
    for cell in firsts.values():
        folder = storage.trial(cell.fingerprint)
        run_trial(cell.recipe, folder, data_dir=tmp_path)
        result = folder.result.read()
        assert result is not None
        main = cell.recipe.task.metrics[0]
        assert main.name == metric
        sign = 1 if main.higher_is_better else -1
        assert sign * result.test[metric] > sign * threshold


def test_a_text_file(tmp_path: Path) -> None:
    """A few steps on a text of 8 random letters, of which each has 3 bits."""
    letters = torch.randint(8, (40_000,), generator=torch.Generator().manual_seed(0)) + 97
    (tmp_path / "book.txt").write_bytes(bytes(letters.tolist()))
    sweep = load_sweep(str(EXAMPLES / "text_file.py"))
    assert [cell.name for cell in sweep.cells][::3] == ["FP seed=0", "PC seed=0"]
    recipe = override(override(sweep.cells[3].recipe, "steps_per_epoch", 5), "epochs", 4)
    run = TrainingRun(recipe, data_dir=tmp_path)
    bits = [record.validation["bits_per_byte_hard"] for record in run]
    assert 3 <= bits[-1] < bits[0] < 8.5
    weights = run.final_weights()
    for name in ("blocks.0.qkv.weight", "blocks.1.contract.weight"):
        scale = math.sqrt(2 / weights[name].shape[1])
        found = (weights[name] / scale).unique()
        torch.testing.assert_close(found, torch.tensor([-1.0, 0.0, 1.0]))


def test_fine_tuning_of_a_network_of_timm(tmp_path: Path) -> None:
    """A few steps from random weights, for want of a download, of other classes."""
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = timm.create_model("test_resnet", in_chans=1).state_dict()
    torch.save(state, tmp_path / "test_resnet.pt")
    sweep = load_sweep(str(EXAMPLES / "timm_fine_tuning.py"))
    notes = check_without_data(sweep.cells, tmp_path)
    assert notes[0].startswith("test_resnet: 370,176 weights are quantized: conv*.*.weight (2 ten")
    recipe = override(override(sweep.cells[3].recipe, "dataset.train_images", 300), "epochs", 2)
    run = TrainingRun(recipe, data_dir=tmp_path)
    assert torch.equal(run.model.get_parameter("conv1.0.weight"), state["conv1.0.weight"])
    records = list(run)
    assert records[1].train_loss < records[0].train_loss
    final = run.final_weights()
    assert len(final["layer1.0.conv1.weight"].unique()) == 3
    assert final["fc.weight"].shape[0] == 10
