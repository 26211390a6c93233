"""Every sweep that ships expands, with the number of trials written here."""

import pytest

from sweeps.loading import load_sweep, named_sweeps
from sweeps.results import regime

TRIALS = {
    "digits": {"FP": 3, "BC": 9, "PQ": 27, "rPC": 27, "PC": 27},
    "cifar10_jpeg_fine_tuning": {"BC": 2, "PQ": 2, "PC": 2},
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


def test_two_epochs_of_fine_tuning_go_through_the_papers_range_of_rho() -> None:
    cells = load_sweep("cifar10_jpeg_fine_tuning").cells
    assert {regime(cell) for cell in cells} == {"fine-tuning"}
    per_epoch = -(-49_000 // 128)
    steps = 2 * per_epoch
    annealed = {
        cell.method: cell.recipe.quantization.sharpness
        for cell in cells
        if cell.recipe.quantization and cell.recipe.quantization.quantizer.annealed
    }
    for half_gap, share in ((0.5, 1 / 4), (1.0, 1 / 2)):
        reached = next(t for t in range(steps) if annealed["PC"].at(t, per_epoch) >= half_gap)
        assert reached / steps == pytest.approx(share, abs=0.02)
    assert annealed["PQ"].cumulative(steps, per_epoch) == pytest.approx(7.4, abs=0.05)


def test_fine_tuning_and_end_to_end_are_told_apart() -> None:
    assert {regime(cell) for cell in load_sweep("digits").cells} == {"end-to-end"}
