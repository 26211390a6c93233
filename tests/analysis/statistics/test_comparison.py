"""Methods against one another, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.aggregate import configurations, family_keys, highest
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


def leaders_one_by_one(table: pd.DataFrame, frame: pd.DataFrame) -> tuple[set[str], set[str]]:
    """The configurations that lead and that win, by a test of each pair with the best one."""
    scores = frame.set_index(["configuration_id", "seed"])["test_accuracy"].dropna()
    leads, wins = set(), set()
    for _, group in table[table["n"] > 0].groupby(family_keys(table)):
        best = highest(group)["configuration_id"]
        others = [name for name in group["configuration_id"] if name != best]
        lows = []
        for name in others:
            differences = (scores[best] - scores[name]).dropna()
            enough = len(differences) > 1
            t = stats.t.ppf(0.975, len(differences) - 1) if enough else np.nan
            error = differences.std() / len(differences) ** 0.5 if enough else np.nan
            lows.append(differences.mean() - t * error)
        leads |= {name for name, low in zip(others, lows, strict=True) if low <= 0}
        leads |= {best} if not np.isnan(lows).all() else set()
        wins |= {best} if others and all(low > 0 for low in lows) else set()
    return leads, wins


@pytest.mark.parametrize("seed", range(5))
def test_the_leaders_of_all_groups_are_those_of_each(seed: int) -> None:
    frame = grid(
        lambda method, levels, place, run: 0.7 + 0.05 * place * (method < "M2"),
        methods=[f"M{number}" for number in range(12)],
        rho0=(1e-3, 1e-2, 1e-1, 1.0),
        seeds=6,
        noise=0.01,
        seed=seed,
    )
    frame = frame[np.random.default_rng(seed).random(len(frame)) < 0.7].reset_index(drop=True)
    table = configurations(frame)
    found = with_leaders(table, frame, family_keys(table))
    leads, wins = leaders_one_by_one(table, frame)
    assert set(table["configuration_id"][found["leads"]]) == leads
    assert set(table["configuration_id"][found["wins"]]) == wins
    assert wins
    assert leads > wins
