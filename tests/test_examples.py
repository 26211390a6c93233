"""The files in examples/ are short, and do what they say."""

import math
from pathlib import Path

import pytest
import torch

from quantlab import TrainingRun, override
from sweeps.loading import load_sweep

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_LINES = 30


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


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
