"""Trials -> configurations: numbers by hand, and nothing hidden."""

import numpy as np
import pandas as pd
import pytest

from analysis.columns import STATES
from analysis.statistics.aggregate import (
    COUNTS,
    WITHOUT,
    configurations,
    place_of_highest,
    places_of_highest,
    stacks_of,
)
from analysis.statistics.intervals import t_interval
from tests.analysis.frames import EXAMPLE, grid, trials


def by_id(frame: pd.DataFrame) -> pd.DataFrame:
    return configurations(frame).set_index("configuration_id")


def test_means_deviations_and_intervals_by_hand() -> None:
    table = by_id(trials(EXAMPLE))
    row = table.loc["PC-binary-0.01"]
    assert row["test_mean"] == pytest.approx(0.94)
    assert row["test_std"] == pytest.approx(0.02 / 2**0.5)  # ddof = 1
    assert row["validation_mean"] == pytest.approx(0.93)
    expected = t_interval(0.94, 0.02 / 2**0.5, 2)
    assert (row["test_t_low"], row["test_t_high"]) == pytest.approx(expected)
    assert (row["test_bootstrap_low"], row["test_bootstrap_high"]) == pytest.approx((0.93, 0.95))
    assert list(table.index) == list(dict.fromkeys(trials(EXAMPLE)["configuration_id"]))


def test_a_configuration_says_what_is_missing() -> None:
    row = by_id(trials(EXAMPLE)).loc["PQ-binary-1e-06"]
    assert (row["seeds"], row["n"], row["diverged"], row["failed"]) == (2, 1, 1, 0)
    assert row["test_mean"] == pytest.approx(0.70)
    assert np.isnan(row[["test_std", "test_t_low", "test_bootstrap_low"]].astype(float)).all()
    waiting = trials(EXAMPLE[:2], state="WAITING", validation_accuracy=None, test_accuracy=None)
    row = configurations(waiting).iloc[0]
    assert (row["n"], row["unfinished"]) == (0, 2)
    assert pd.isna(row["test_mean"])


def test_seeds_that_are_not_there_at_all_are_counted() -> None:
    frame = grid(lambda *_: 0.9, seeds=3)
    lost = (frame["method"] == "PC") & (frame["rho0"] == 0.1) & (frame["seed"] > 0)
    table = configurations(frame[~lost].reset_index(drop=True))
    fewer = table[(table["method"] == "PC") & (table["rho0"] == 0.1)]
    assert fewer["absent"].tolist() == [2, 2]
    assert table["absent"].sum() == 4


def test_sets_and_axes_may_have_different_seeds() -> None:
    frame = grid(lambda *_: 0.9, seeds=5)
    fewer = (frame["set"] == "ternary") & (frame["seed"] > 2)
    assert configurations(frame[~fewer])["absent"].sum() == 0
    late = frame["seed"] > 2
    frame["axis.sweep"] = np.where(late, "second", "first")
    frame["configuration_id"] += frame["axis.sweep"]
    assert configurations(frame)["absent"].sum() == 0
    knob = configurations(frame.assign(**{"knob.sweep": "nominal"}))  # of which one is chosen
    assert set(knob.loc[knob["axis.sweep"] == "first", "absent"]) == {2}
    assert set(knob.loc[knob["axis.sweep"] == "second", "absent"]) == {3}


def test_an_accuracy_of_an_unfinished_trial_is_not_counted() -> None:
    frame = trials(EXAMPLE[2:4])
    frame.loc[1, "state"] = "RUNNING"
    row = configurations(frame).iloc[0]
    assert (row["n"], row["unfinished"]) == (1, 1)
    assert row["test_mean"] == pytest.approx(0.90)


def test_the_same_trials_give_the_same_table() -> None:
    frame = grid(lambda *_: 0.9, noise=0.02)
    pd.testing.assert_frame_equal(configurations(frame), configurations(frame))


def test_every_state_is_counted_once_and_the_counts_add_up() -> None:
    assert sorted(state for states in COUNTS.values() for state in states) == sorted(STATES)
    assert {*WITHOUT, "n"} == {*COUNTS, "absent"}
    frame = trials([("PC", "binary", 0.1, seed, 0.9) for seed in range(len(STATES))])
    frame["state"] = STATES
    row = configurations(frame).iloc[0]
    assert row["stopped"] == 1
    assert row[list(COUNTS)].sum() == row["seeds"] == len(STATES)


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_of_all_groups_are_those_of_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(20), rng.integers(0, 20, 60)])
    values = rng.integers(-2, 3, 80) * (1 + 1e-12 * rng.standard_normal(80))  # with ties
    values[rng.random(80) < 0.3] = np.nan
    values[:2] = [np.inf, -np.inf]
    expected = []
    for group in range(20):
        places = np.flatnonzero(groups == group)
        expected.append(places[place_of_highest(values[places])])
    assert places_of_highest(values, groups).tolist() == expected
    assert places_of_highest(values[:0], groups[:0]).tolist() == []


def test_stacks_have_the_rows_of_each_group_in_their_order() -> None:
    groups = np.random.default_rng(0).integers(0, 30, 80)  # some numbers have no row
    found = {
        int(group): places.tolist()
        for stacked, rows in stacks_of(groups)
        for group, places in zip(stacked, rows, strict=True)
    }
    assert found == {
        int(group): np.flatnonzero(groups == group).tolist() for group in np.unique(groups)
    }
    sizes = [rows.shape[1] for _, rows in stacks_of(groups)]
    assert sizes == sorted(set(sizes))
