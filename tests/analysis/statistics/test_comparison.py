"""Methods against one another, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.aggregate import configurations
from analysis.statistics.comparison import (
    compare_methods,
    improvements,
    with_leaders,
)
from analysis.statistics.selection import select
from tests.analysis.frames import grid, trials


def test_differences_are_paired_by_seed_as_scipys() -> None:
    frame = grid(
        lambda method, levels, place, seed: 0.6 + 0.05 * seed + (0.03 if method == "PC" else 0),
        noise=0.005,
        seeds=5,
    )
    selected = select(configurations(frame))
    found = compare_methods(selected, frame)
    assert len(found) == 2  # one pair of methods on each of two sets
    for row in found.to_dict("records"):
        runs = {
            method: frame[
                (frame["method"] == method)
                & (frame["set"] == row["set"])
                & (frame["configuration_id"].isin(selected["configuration_id"]))
            ].set_index("seed")["test_accuracy"]
            for method in (row["method"], row["other"])
        }
        own, others = runs.values()
        interval = stats.ttest_rel(own, others.loc[own.index]).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert row["difference"] == pytest.approx(own.mean() - others.mean())
        assert (row["method"], row["seeds"]) == ("PC", 5)


def test_only_seeds_that_both_have_are_paired() -> None:
    frame = trials(
        [
            ("BC", "binary", None, 0, 0.5),
            ("BC", "binary", None, 1, 0.6),
            ("PC", "binary", 0.1, 1, 0.9),
            ("PC", "binary", 0.1, 2, 0.8),
        ]
    )
    (row,) = compare_methods(select(configurations(frame)), frame).to_dict("records")
    assert (row["method"], row["other"], row["seeds"]) == ("PC", "BC", 1)
    assert row["difference"] == pytest.approx(0.3)
    assert row["low"] != row["low"]  # no interval for one seed
    assert row["improvement"] == 1.0


def test_probability_of_improvement_counts_pairs() -> None:
    def improvement(own: list[float], others: list[float]) -> float:
        return float(improvements(np.array([own]), np.array([others]))[0])

    assert improvement([1, 2, 3], [1, 2, 3]) == 0.5
    assert improvement([3, 4], [1, 3]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert improvement([0.1], [0.2]) == 0.0


def test_those_lead_whom_a_paired_interval_does_not_tell_from_the_best() -> None:
    accuracies = {
        "best": (0.90, 0.92, 0.97),
        "luck": (0.92, 0.90, 0.95),  # differences -0.02, 0.02, 0.02
        "less": (0.88, 0.90, 0.95),  # 0.02 less with every seed: significant, as seeds are paired
        "once": (0.96,),
    }
    rows = [
        (method, "binary", None, seed, accuracy)
        for method, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    frame = trials(rows[:-1])
    found = with_leaders(configurations(frame), frame, ["set"]).set_index("method")
    assert found["leads"].to_dict() == {"best": True, "luck": True, "less": False}
    assert not found["wins"].any()  # the two are a tie
    fewer = frame[frame["method"] != "luck"]
    found = with_leaders(configurations(fewer), fewer, ["set"]).set_index("method")
    assert found["leads"].to_dict() == found["wins"].to_dict() == {"best": True, "less": False}
    once = ("one", "binary", None, 0, 0.5)
    untested = trials([*(row for row in rows[:-1] if row[0] != "luck"), once])
    found = with_leaders(configurations(untested), untested, ["set"]).set_index("method")
    assert found["leads"].to_dict() == {"best": True, "less": False, "one": False}
    assert not found["wins"].any()  # one seed has no interval
    frame = trials(rows)  # the highest mean has one seed only
    assert not with_leaders(configurations(frame), frame, ["set"])["leads"].any()
