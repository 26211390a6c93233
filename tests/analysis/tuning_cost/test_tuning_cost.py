"""Curves over the number of tries, and the best methods of a budget."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.findings import analyse
from analysis.metric import Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.comparison import compare_methods
from analysis.statistics.selection import select
from analysis.tables.tuning_cost import tuning_table
from analysis.tuning_cost.budgets import AREA, best_of_budgets
from analysis.tuning_cost.curves import curves_of, tuning_cost
from analysis.tuning_cost.family import Family, expected_of
from tests.analysis.frames import grid, trials


def noisy(**changes: object) -> pd.DataFrame:
    """PQ depends on rho0, PC hardly, and the order on validation images is another."""
    frame = grid(
        lambda method, levels, place, seed: (
            0.7 + 0.01 * seed + (0.05 * place if method == "PQ" else 0.12 + 0.001 * place)
        ),
        rho0=(1e-3, 1e-2, 1e-1, 1.0),
        noise=0.004,
        **changes,
    )
    rng = np.random.default_rng(1)
    return frame.assign(
        validation_accuracy=frame["test_accuracy"] + 0.03 * rng.standard_normal(len(frame))
    )


def test_all_tries_yield_what_the_report_selects() -> None:
    frame = noisy()
    table = configurations(frame)
    for split in ("validation", "test"):
        chosen = select(table, split).set_index(["set", "method"])
        costs = tuning_cost(curves_of(table, frame, wanted=split))
        last = costs[costs["tries"] == costs["configurations"]].set_index(["set", "method"])
        for column, of in (
            ("test_mean", "test_mean"),
            ("low", "test_t_low"),
            ("high", "test_t_high"),
        ):
            assert last[column].to_numpy() == pytest.approx(chosen[of].loc[last.index].to_numpy())
        assert set(costs["chosen_on"]) == {split}
    first = costs[costs["tries"] == 1].set_index(["set", "method"])
    means = frame.groupby(["set", "method", "seed"])["test_accuracy"].mean().unstack()
    low, high = stats.t.interval(
        0.95, 2, means.mean(axis=1), means.std(axis=1, ddof=1) / np.sqrt(3)
    )
    assert first["test_mean"].to_dict() == pytest.approx(means.mean(axis=1).to_dict())
    assert first["low"].to_dict() == pytest.approx(dict(zip(means.index, low, strict=True)))
    assert first["high"].to_dict() == pytest.approx(dict(zip(means.index, high, strict=True)))


def test_a_single_seed_is_the_mean_over_all_subsets_and_seeds() -> None:
    frame = noisy(sets=("binary",), methods=("PQ",))
    costs = tuning_cost(curves_of(configurations(frame), frame))
    for tries in range(1, 5):
        by_seed = []
        for _, own in frame.groupby("seed"):
            rows = own.to_dict("records")
            best = [
                max(subset, key=lambda row: row["validation_accuracy"])["test_accuracy"]
                for subset in combinations(rows, tries)
            ]
            by_seed.append(np.mean(best))
        row = costs.iloc[tries - 1]
        interval = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
        assert row["single"] == pytest.approx(np.mean(by_seed))
        assert (row["single_low"], row["single_high"]) == pytest.approx(tuple(interval))


def test_methods_are_compared_as_in_the_report_if_all_is_tried() -> None:
    frame = noisy(sets=("binary",), seeds=5)
    table = configurations(frame)
    (pair,) = compare_methods(select(table), frame).to_dict("records")
    budgets = best_of_budgets(curves_of(table, frame)).set_index(["budget", "method"])
    assert list(dict.fromkeys(budgets.index.get_level_values(0))) == ["1", "3", "4", AREA]
    difference = budgets.loc[("4", pair["method"]), "test_mean"]
    difference -= budgets.loc[("4", pair["other"]), "test_mean"]
    assert difference == pytest.approx(pair["difference"])
    assert budgets.loc[("4", pair["method"]), "wins"] == (pair["low"] > 0)
    assert budgets.loc[("1", "PC"), "wins"]  # one try of PQ is bad on average
    assert not budgets.loc[("1", "PQ"), "leads"]
    costs = tuning_cost(curves_of(table, frame)).set_index("method")
    for method in ("PC", "PQ"):
        area = costs.loc[method, "test_mean"].mean()
        assert budgets.loc[(AREA, method), "test_mean"] == pytest.approx(area)


def test_a_method_without_rho0_stays_at_its_only_configuration() -> None:
    rows = [("BC", "binary", None, seed, 0.8 + 0.01 * seed) for seed in range(2)]
    rows += [
        ("PC", "binary", rho0, seed, 0.7 + rho0 + 0.01 * seed)
        for rho0 in (0.0, 0.1, 0.2)
        for seed in range(2)
    ]
    frame = trials(rows)
    budgets = best_of_budgets(curves_of(configurations(frame), frame))
    found = budgets.set_index(["method", "budget"])["test_mean"].to_dict()
    assert found == pytest.approx(
        {
            ("BC", "1"): 0.805,
            ("BC", "3"): 0.805,
            ("BC", AREA): 0.805,
            ("PC", "1"): 0.805,
            ("PC", "3"): 0.905,
            ("PC", AREA): (0.805 + 0.705 + 0.2 / 3 + 0.1 + 0.905) / 3,
        }
    )
    leads = budgets.set_index(["method", "budget"])["leads"]
    assert leads[("BC", "1")]
    assert leads[("PC", "1")]
    assert not leads[("BC", "3")]
    alone = trials(rows[:2])
    assert best_of_budgets(curves_of(configurations(alone), alone)).empty


def test_what_diverged_is_chosen_last_and_is_as_good_as_guessing() -> None:
    rows = [("PC", "binary", 0.01, seed, 0.8) for seed in range(2)]
    rows += [("PC", "binary", 0.1, seed, 0.95 if seed else None) for seed in range(2)]
    rows += [("PC", "binary", 1.0, seed, None) for seed in range(2)]
    frame = trials(rows, classes=10)
    table = configurations(frame)
    table["classes"] = 10
    costs = tuning_cost(curves_of(table, frame))
    assert costs["test_mean"].tolist() == pytest.approx(
        [(0.8 + 0.95 + 0.1) / 3, (0.8 + 0.8 + 0.95) / 3, 0.8]
    )
    assert costs["low"].isna().tolist() == [True, True, False]  # one of them has a single seed
    # The first seed of the second one diverged; of the second seed, it is the best.
    assert costs["single"].tolist() == pytest.approx(
        [(0.8 + 0.1 + 0.1 + 0.8 + 0.95 + 0.1) / 6, (0.8 + 0.8 + 0.1 + 0.95 + 0.95 + 0.8) / 6, 0.875]
    )
    unknown = tuning_cost(curves_of(configurations(frame), frame))
    assert unknown["test_mean"].isna().tolist() == [True, False, False]


def test_what_has_no_result_is_chosen_after_all_that_have_one_as_in_the_report() -> None:
    """It has fewer diverged seeds than another configuration, because it has fewer seeds."""
    rows = [("PC", "binary", 0.01, seed, None if seed else 0.8) for seed in range(3)]
    frame = trials([*rows, ("PC", "binary", 0.1, 0, None)], classes=10)
    table = configurations(frame).assign(classes=10)
    costs = tuning_cost(curves_of(table, frame))
    assert costs["test_mean"].tolist() == pytest.approx([(0.8 + 0.1) / 2, 0.8])
    assert costs["test_mean"].iloc[-1] == select(table)["test_mean"].item()


def test_further_axes_are_tuned_if_they_are_knobs() -> None:
    frame = noisy(sets=("binary",))
    other = frame.assign(
        trial_id=frame["trial_id"] + "b", configuration_id=frame["configuration_id"] + "b"
    )
    both = pd.concat([frame.assign(**{"axis.lr": "1"}), other.assign(**{"axis.lr": "2"})])
    apart = tuning_cost(curves_of(configurations(both), both))
    assert set(apart["configurations"]) == {4}
    assert set(apart["axis.lr"]) == {"1", "2"}
    knob = both.assign(**{"knob.lr": "log"})
    together = tuning_cost(curves_of(configurations(knob), knob))
    assert set(together["configurations"]) == {8}
    assert "axis.lr" not in together


def test_an_axis_that_is_a_knob_of_one_method_is_tuned_for_this_one_only() -> None:
    frame = noisy()
    other = frame.assign(
        trial_id=frame["trial_id"] + "b",
        configuration_id=frame["configuration_id"] + "b",
        test_accuracy=frame["test_accuracy"] - 0.1,
    )
    both = pd.concat([frame.assign(**{"axis.lr": "1"}), other.assign(**{"axis.lr": "2"})])
    both["knob.lr"] = np.where(both["method"] == "PC", "log", "")
    found = analyse(Measurements(both))
    costs = found.tuning_cost.drop_duplicates(["method", "set", "axis.lr"])
    sizes = costs[costs["set"] == "binary"].set_index(["method", "axis.lr"])["configurations"]
    assert sizes.to_dict() == {("PQ", "1"): 4, ("PC", ""): 8, ("PQ", "2"): 4}
    assert set(found.across_settings["variant"]) == {"PQ lr=1", "PC", "PQ lr=2"}


def test_unfinished_configurations_are_left_out_and_counted() -> None:
    frame = noisy(sets=("binary",), methods=("PC",))
    late = frame["rho0"] == 1.0
    frame.loc[late, ["state", "test_accuracy", "validation_accuracy"]] = ["WAITING", None, None]
    frame.loc[0, ["state", "test_accuracy", "validation_accuracy"]] = ["FAILED", None, None]
    costs = tuning_cost(curves_of(configurations(frame), frame))
    assert (costs[["configurations", "unfinished"]].to_numpy() == [3, 1]).all()
    assert costs[["low", "single_low"]].notna().all(axis=None)  # of the seeds that are there


def test_a_configuration_with_a_seed_that_waits_has_not_finished() -> None:
    frame = noisy()
    result = ["state", "test_accuracy", "validation_accuracy"]
    late = (frame["rho0"] == 1.0) & (frame["seed"] > 0) & (frame["method"] == "PQ")
    frame.loc[late, result] = ["WAITING", None, None]
    findings = analyse(Measurements(frame))
    costs = findings.tuning_cost.drop_duplicates(["set", "method"]).set_index("method")
    assert set(costs.loc["PQ", "configurations"]) == {3}
    assert set(costs.loc["PQ", "unfinished"]) == {1}
    assert set(costs.loc["PC", "unfinished"]) == {0}
    assert findings.tuning_budgets["low"].notna().all()  # a single seed has no interval
    assert "Configurations that have not finished are left out." in tuning_table(findings).caption


def test_lower_values_can_be_better() -> None:
    frame = noisy(sets=("binary",))
    loss = Metric("loss", "loss", higher_is_better=False)
    losses = frame.assign(
        test_loss=1 - frame["test_accuracy"], validation_loss=1 - frame["validation_accuracy"]
    )
    found = analyse(Measurements(losses, metric=loss)).tuning_cost
    expected = analyse(Measurements(frame)).tuning_cost
    for column, other in (
        ("test_mean", "test_mean"),
        ("low", "high"),
        ("single_low", "single_high"),
    ):
        assert found[column].to_numpy() == pytest.approx(1 - expected[other].to_numpy())


def test_the_table_has_the_methods_side_by_side() -> None:
    table = tuning_table(analyse(Measurements(noisy())))
    assert list(table.body.columns) == ["model", "set", "tries", "PQ", "PC"]
    assert table.body["tries"].tolist() == ["1", "3", "4", AREA] * 2
    assert table.body["PC"].iloc[0].startswith("**83.11** ±")
    assert "Configurations: 4 of PQ and PC." in table.caption
    assert "chosen by the mean validation accuracy" in table.caption


def test_families_that_are_computed_together_are_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    families = []
    for number in range(40):
        shape = (1 + number % 3, 1 + number % 4)
        scores = rng.random(shape).round(1)  # with ties
        diverged, missing = rng.random((2, *shape)) < 0.2
        scores[diverged | missing] = np.nan
        chosen = np.where(diverged, -np.inf, scores)
        failures = diverged.sum(axis=1).astype(float)
        choose_by = np.where(np.isnan(scores).all(axis=1), -np.inf, np.nansum(scores, axis=1))
        seeds = np.arange(number, number + shape[1])
        families.append(Family(seeds, failures, choose_by, chosen, scores, 0.1 * (number % 2)))
    for family, found in zip(families, expected_of(families), strict=True):
        (alone,) = expected_of([family])
        assert found.single.shape[1] == (~np.isnan(family.chosen_scores).any(axis=0)).sum()
        for name in ("seeds", "mean", "deviations", "degrees", "single"):
            assert getattr(found, name) == pytest.approx(getattr(alone, name), nan_ok=True)
