"""Interactions of knobs: against formulas for small grids, and on planted effects and noise."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from analysis.findings import analyse
from analysis.knob_effects.double_differences import (
    critical_value,
    double_differences,
    interaction_of,
)
from analysis.knob_effects.interactions import interactions
from analysis.schema import Measurements
from analysis.tables.findings import all_tables
from tests.analysis.knob_effects.tables import settings_of, with_knobs


def test_double_differences_are_those_of_all_pairs() -> None:
    means = np.random.default_rng(0).normal(size=(3, 4))
    expected = [
        means[k, m] - means[i, m] - means[k, j] + means[i, j]
        for (i, k), (j, m) in product(combinations(range(3), 2), combinations(range(4), 2))
    ]
    assert double_differences(means).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("columns", "degrees"), [(2, 8), (3, 12), (6, 24)])
def test_the_critical_value_of_two_rows_is_that_of_a_studentized_range(
    columns: int, degrees: int
) -> None:
    """Between two rows, double differences are differences of the rows' differences."""
    exact = stats.studentized_range.ppf(0.95, columns, degrees) / np.sqrt(2)
    assert critical_value(2, columns, degrees) == pytest.approx(exact, rel=0.015)
    assert critical_value(columns, 2, degrees) == pytest.approx(exact, rel=0.015)


def test_two_values_each_are_compared_as_welch_does() -> None:
    """The four cells have different seeds, so that nothing is subtracted."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 2, 5)) * np.array([[1, 2], [3, 4]])[..., None]
    scores[0, 0, 0] = np.nan
    cells = [own[~np.isnan(own)] for own in scores.reshape(4, -1)]
    parts = np.array([own.var(ddof=1) / len(own) for own in cells])
    degrees = parts.sum() ** 2 / sum(
        part**2 / (len(own) - 1) for part, own in zip(parts, cells, strict=True)
    )
    means = [own.mean() for own in cells]
    t = (means[3] - means[2] - means[1] + means[0]) / np.sqrt(parts.sum())
    found = interaction_of(scores)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), degrees))
    assert found.size == pytest.approx(abs(t) * np.sqrt(parts.sum()))


def test_a_seed_that_is_good_everywhere_changes_nothing() -> None:
    scores = np.random.default_rng(2).normal(size=(3, 4, 5))
    plain = interaction_of(scores)
    shifted = interaction_of(scores + 100 * np.arange(5))
    assert (shifted.p, shifted.size_high) == pytest.approx((plain.p, plain.size_high))


def test_what_cannot_be_tested_has_no_numbers() -> None:
    scores = np.random.default_rng(3).normal(size=(2, 3, 3))
    scores[1, 2, :2] = np.nan
    assert np.isnan(interaction_of(scores).p)
    same = np.full((2, 3, 3), 0.1)
    assert (interaction_of(same).p, interaction_of(same).size_high) == (1, 0)
    same[1, 1] = 0.2
    assert np.isnan(interaction_of(same).p)


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_interaction_is_seen_beside_scores_that_exploded(is_whole: bool) -> None:
    """The effects of the first two rows do not add up; in the third, all scores are equal."""
    means = np.array([[0.1, 0.2], [0.3, 0.9], [1e10, 1e10]])[..., None] + np.zeros(4)
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, 2, 4))
    noisy = means.copy()
    noisy[:2] += noise
    for scores in (means, noisy):
        if not is_whole:
            scores[0, 0, 3] = np.nan
    assert np.isnan(interaction_of(means).p)  # without noise, nothing is tested
    found = interaction_of(noisy)
    assert found.p < 0.05
    assert found.size > 0
    same = means[[0, 0, 2]]
    assert interaction_of(same).p == 1


def test_the_largest_difference_is_named() -> None:
    frame = with_knobs(lambda rate, theta: 0.8 - 0.1 * theta * (rate == 1), noise=0.001)
    (row,) = interactions(settings_of(frame)).to_dict("records")
    assert (row["first"], row["second"], row["verdict"]) == ("rate", "theta", "depends")
    assert (row["first_to"], row["second_from"], row["second_to"]) == ("1", "0", "1")
    assert row["size"] == pytest.approx(0.1, abs=0.005)
    assert row["size_low"] < 0.1 < row["size_high"]
    assert row["change"] == pytest.approx(0, abs=0.003)
    assert row["other_change"] == pytest.approx(-0.1, abs=0.003)


def test_knobs_whose_effects_add_up_do_not_interact() -> None:
    frame = with_knobs(lambda rate, theta: 0.8 - 0.1 * theta - 0.05 * np.log10(rate), noise=0.002)
    (row,) = interactions(settings_of(frame)).to_dict("records")
    assert row["verdict"] == "none"
    assert row["size_low"] == 0
    (few,) = interactions(settings_of(frame[frame["seed"] == 0])).to_dict("records")
    assert (few["verdict"], few["cells"]) == ("untested", 0)


def test_knobs_of_which_a_pair_diverges_cannot_be_tuned_one_by_one() -> None:
    frame = with_knobs(lambda rate, theta: 0.9, noise=0.001)
    pair = (frame["axis.rate"] == "1") & (frame["axis.theta"] == "1")
    scores = ["test_accuracy", "validation_accuracy"]
    for which in (pair & (frame["seed"] == 0), pair):  # one seed is enough, and all are
        some = frame.copy()
        some.loc[which, "state"], some.loc[which, scores] = "DIVERGED", np.nan
        (row,) = interactions(settings_of(some)).to_dict("records")
        assert (row["verdict"], row["diverged"]) == ("diverged", which.sum())
    measurements = Measurements(some)
    tables = all_tables(analyse(measurements), measurements.importance)
    bodies = {table.name: table.body for table in tables}
    assert bodies["interactions"]["failures"].tolist() == ["3 diverged"]
    some.loc[some.index[0], "state"] = "RUNNING"
    (row,) = interactions(settings_of(some)).to_dict("records")
    assert row["verdict"] == "unfinished"
    other = with_knobs(lambda rate, theta: 0.8 - 0.1 * theta * (rate == 1), noise=0.001)
    last = pair & (frame["seed"] == 0)
    other.loc[last, "state"], other.loc[last, scores] = "DIVERGED", np.nan
    (row,) = interactions(settings_of(other)).to_dict("records")
    assert row["verdict"] == "depends"


@pytest.mark.parametrize("spread", [1.0, 5.0], ids=["equal", "unequal"])
def test_planted_interactions_are_found_and_others_are_not(spread: float) -> None:
    """Noise grows by the factor `spread` along one knob; seeds have effects of their own."""
    rng = np.random.default_rng(4)
    sizes = np.geomspace(1, spread, 3)[:, None, None]
    additive = np.add.outer([0, 4, 1], [0, -3, 5])[..., None]
    planted = np.zeros((3, 3, 1))
    planted[0, 0] = size = 8 * spread
    false, missed, outside = 0, 0, 0
    for _ in range(300):
        noise = sizes * rng.normal(size=(3, 3, 5)) + 3 * rng.normal(size=5)
        false += interaction_of(additive + noise).p < 0.05
        found = interaction_of(additive + planted + noise)
        missed += found.p >= 0.05
        outside += not found.size_low <= size <= found.size_high
    most = 0.05 * 300 + 8  # two standard deviations
    assert false <= most
    assert outside <= most
    assert missed <= 0.05 * 300
