"""The choice of rho0, and the optimism of choosing on test images."""

import numpy as np
import pytest

from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import best_of_test, optimism, select
from tests.analysis.frames import EXAMPLE, grid, trials


def test_rho0_is_chosen_by_validation_and_not_by_test() -> None:
    frame = trials(EXAMPLE)
    worse_on_validation = (frame["rho0"] == 0.01) & (frame["method"] == "PC")
    frame.loc[worse_on_validation, "validation_accuracy"] = 0.5
    best = select(configurations(frame)).set_index("method")
    assert best.loc["PC", "rho0"] == 0.1
    assert best.loc["PC", "test_mean"] == pytest.approx(0.805)
    assert set(best.index) == {"FP", "BC", "PC", "PQ"}
    assert select(configurations(frame), "test").set_index("method").loc["PC", "rho0"] == 0.01


def test_without_validation_images_it_says_that_it_chose_on_test() -> None:
    frame = trials(EXAMPLE, validation_accuracy=float("nan"))
    assert set(select(configurations(frame))["chosen_on"]) == {"test", ""}
    assert set(select(configurations(trials(EXAMPLE)))["chosen_on"]) == {"validation", ""}
    assert set(select(configurations(trials(EXAMPLE)), "test")["chosen_on"]) == {"test", ""}


def test_the_optimism_of_ties_is_the_expected_maximum() -> None:
    """Of three equally good rho0, the best mean of n seeds is 0.8463 sigma / sqrt(n) too high."""
    rng = np.random.default_rng(0)
    sigma, n = 0.01, 3
    estimates = np.array(
        [best_of_test(0.9 + sigma * rng.standard_normal((n, 3))) for _ in range(20_000)]
    )
    assert estimates[:, 1].mean() == pytest.approx(0.9, abs=2e-4)
    assert (estimates[:, 0] - estimates[:, 1]).mean() == pytest.approx(
        0.8463 * sigma / n**0.5, rel=0.03
    )


def test_a_clear_winner_has_no_optimism() -> None:
    accuracies = np.array([[0.9, 0.5], [0.92, 0.52], [0.91, 0.51]])
    best, left_out = best_of_test(accuracies)
    assert best == left_out == pytest.approx(0.91)


def test_optimism_has_a_row_for_each_choice_and_leaves_gaps_aside() -> None:
    frame = grid(lambda *_: 0.9, noise=0.01)
    frame.loc[0, "state"] = "FAILED"
    rows = optimism(frame)
    assert len(rows) == 4
    assert rows["choices"].tolist() == [3] * 4
    assert sorted(rows["seeds"]) == [2, 3, 3, 3]
    assert np.isnan(optimism(grid(lambda *_: 0.9, seeds=1))["optimism"]).all()


def test_a_rho0_of_which_seeds_diverge_is_not_chosen() -> None:
    rows = [("PC", "binary", 0.01, seed, 0.9) for seed in range(3)]
    better = [("PC", "binary", 0.1, seed, 0.95 if seed == 0 else None) for seed in range(3)]
    for split in ("validation", "test"):
        (chosen,) = select(configurations(trials(rows + better)), split).to_dict("records")
        assert chosen["rho0"] == 0.01


def test_validation_accuracies_of_some_seeds_do_not_choose() -> None:
    frame = grid(lambda method, levels, place, seed: 0.9 - 0.1 * place, sets=("binary",))
    part = (frame["method"] == "PC") & (frame["rho0"] == 0.1)
    frame.loc[part, "validation_accuracy"] = [0.99, np.nan, np.nan]
    found = select(configurations(frame)).set_index("method")
    assert found["chosen_on"].to_dict() == {"PQ": "validation", "PC": "test"}
    assert found.loc["PC", "rho0"] == 0.001
