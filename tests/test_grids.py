"""Every sweep that ships expands, with the number of trials written here."""

import pytest

from sweeps.loading import load_sweep, named_sweeps

TRIALS = {
    "digits": {"FP": 3, "BC": 9, "PQ": 27, "rPC": 27, "PC": 27},
    "cifar10_jpeg_smoke": {"PQ": 2, "PC": 2},
}


def test_every_grid_is_counted_here() -> None:
    assert named_sweeps() == sorted(TRIALS)


@pytest.mark.parametrize("name", TRIALS)
def test_counts_by_block(name: str) -> None:
    sweep = load_sweep(name)
    assert sweep.name == name
    counts = {
        block.label: sum(cell.block == block.label for cell in sweep.cells)
        for block in sweep.blocks
    }
    assert counts == TRIALS[name]
    assert len({cell.fingerprint for cell in sweep.cells}) == sum(TRIALS[name].values())
    assert len({cell.name for cell in sweep.cells}) == sum(TRIALS[name].values())
