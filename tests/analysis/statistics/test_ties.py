"""Ties: what differs by rounding only, whatever the size of other scores."""

import numpy as np
import pandas as pd

from analysis.findings import analyse
from analysis.metric import Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import place_of_highest
from analysis.statistics.regrets import probability_best
from analysis.statistics.ties import rounding_between, same_differences, with_ties
from tests.analysis.frames import trials

LOSS = Metric("loss", "loss", higher_is_better=False)


def test_scores_that_differ_by_rounding_become_equal() -> None:
    first, second, third = with_ties([0.3, 0.1 + 0.2, 0.3 + 1e-8])
    assert first == second != third
    assert with_ties([[1e10, 0.1], [np.nan, -np.inf]])[:, 1].tolist() == [0.1, -np.inf]
    assert (rounding_between([1.0, -1e10], 2.0) == [2e-9, 10]).all()


def test_noise_is_seen_beside_a_row_or_a_column_that_exploded() -> None:
    base = np.array([0.9, 0.3, 0.07])
    exact = np.stack([base + 0.01, base, base - 0.05])
    assert np.ptp(exact[0] - exact[1]) > 0
    of_seed = np.column_stack([exact, exact[:, 0] + 1e10])
    large = np.vstack([exact, [1e10] * 3])
    noisy, noisy_seed = large.copy(), of_seed.copy()
    noisy[0, 0] += 1e-6
    noisy_seed[0, 0] += 1e-6
    assert same_differences(exact)
    assert same_differences([exact[:2], noisy[:2]]).tolist() == [True, False]
    assert [bool(same_differences(one)) for one in (large, of_seed)] == [True, True]
    assert [bool(same_differences(one)) for one in (noisy, noisy_seed)] == [False, False]


def test_the_probability_of_being_best_is_not_shared_beside_a_score_that_exploded() -> None:
    scores = [np.array([-0.10, -0.11]), np.array([-0.12, -0.13]), np.array([-1e12, -1e12])]
    assert probability_best(scores, np.random.default_rng(0)) == [1, 0, 0]


def test_the_highest_is_found_beside_a_score_that_exploded() -> None:
    assert place_of_highest([-0.2, -0.1, -1e10]) == 1
    assert place_of_highest([0.3, 0.1 + 0.2, 0.1]) == 0
    assert place_of_highest([np.nan, -np.inf, -2.0]) == 2
    assert place_of_highest([np.nan, np.nan]) == 0


def exploded() -> pd.DataFrame:
    """The losses of PC at three rho0, of which the last one is large, and of two other methods."""
    means = {("PC", 0.1): 0.2, ("PC", 0.2): 0.1, ("PC", 0.3): 1e10, ("BC", None): 0.3}
    rows = [
        (method, "binary", rho0, seed, mean * (1 + 0.001 * seed))
        for (method, rho0), mean in {**means, ("XX", None): 1e11}.items()
        for seed in range(3)
    ]
    frame = trials(rows).rename(columns=lambda name: name.replace("accuracy", "loss"))
    return frame.assign(validation_loss=frame["test_loss"])


def test_a_loss_that_exploded_changes_neither_choice_nor_marks_of_the_others() -> None:
    findings = analyse(Measurements(exploded(), metric=LOSS))
    chosen = findings.selected.set_index("method")
    assert chosen.loc["PC", "rho0"] == 0.2
    assert chosen["wins"].to_dict() == {"PC": True, "BC": False, "XX": False}
    assert not chosen.loc["BC", "leads"]
    of_rho0 = findings.configurations.set_index(["method", "rho0"])
    assert of_rho0.loc[("PC", 0.2), "wins"]
    last = findings.tuning_budgets.query("budget == '3'").set_index("method")
    assert last["wins"].to_dict() == {"PC": True, "BC": False, "XX": False}
