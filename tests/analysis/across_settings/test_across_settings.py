"""Methods over the tasks of a table of trials."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.across_settings.across_settings import ALL_PAIRS, AcrossSettings, across_settings
from analysis.across_settings.measures import performance_profile, resamples
from analysis.across_settings.tasks import BOUNDS, FULL_PRECISION, NONE, Scores, scores_of
from analysis.findings import analyse
from analysis.metric import ACCURACY, Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from analysis.tables.across_settings import across_tables
from tests.analysis.frames import Row, grid, trials

SETS = ("binary", "ternary", "quaternary", "octonary")
FULL: list[Row] = [("FP", "", None, seed, 0.9) for seed in range(3)]


def made(*, sets: tuple[str, ...] = SETS, seeds: int = 3, noise: float = 0.002) -> pd.DataFrame:
    """PC is better than PQ, which is better than BC."""
    return grid(
        lambda method, levels, place, seed: (
            {"PC": 0.8, "PQ": 0.7, "BC": 0.5}[method] + 0.02 * sets.index(levels) - 0.1 * place
        ),
        methods=("BC", "PQ", "PC"),
        sets=sets,
        seeds=seeds,
        noise=noise,
    )


def with_full_precision(frame: pd.DataFrame) -> pd.DataFrame:
    full = trials(FULL).assign(trial_id=[f"f{place}" for place in range(len(FULL))])
    return pd.concat([frame, full], ignore_index=True)


def scored(frame: pd.DataFrame, metric: Metric = ACCURACY, classes: int | None = 10) -> Scores:
    table = configurations(frame, metric)
    if classes:
        table["classes"] = classes
    return scores_of(select(table), frame, metric)


def compared(frame: pd.DataFrame) -> AcrossSettings:
    return across_settings(scored(frame))


def test_scores_are_between_guessing_and_full_precision_if_both_are_known() -> None:
    frame = with_full_precision(made())
    found = scored(frame)
    assert found.scale == FULL_PRECISION
    raw = frame[(frame["rho0"] == 1e-3) & (frame["method"] == "PC")]
    by_set = raw.pivot(index="seed", columns="set", values="test_accuracy")[list(SETS)]
    assert found.variants["PC"] == pytest.approx((by_set.to_numpy() - 0.1) / (0.9 - 0.1))
    assert found.tasks["guess"].tolist() == [0.1] * 4
    assert found.tasks["full_precision"].tolist() == pytest.approx([0.9] * 4)
    for bounded in (scored(made()), scored(frame, classes=None)):
        assert bounded.scale == BOUNDS
        assert bounded.variants["PC"] == pytest.approx(by_set.to_numpy())
    guessing = frame.assign(test_accuracy=frame["test_accuracy"].mask(frame["set"] == "", 0.1))
    assert scored(guessing).scale == BOUNDS  # nothing is to be gained above guessing


def test_aggregates_are_those_of_the_chosen_configurations() -> None:
    found = compared(with_full_precision(made())).across.set_index("method")
    assert found["tasks"].tolist() == [4] * 3
    assert found["runs"].tolist() == [3] * 3
    runs = scored(with_full_precision(made())).variants["PQ"]
    assert found.loc["PQ", "iqm"] == pytest.approx(stats.trim_mean(runs, 0.25, axis=None))
    assert found.loc["PQ", "optimality_gap"] == pytest.approx(1 - runs.mean())
    for name in ("iqm", "median", "mean", "optimality_gap"):
        assert (found[f"{name}_low"] <= found[name]).all()
        assert (found[name] <= found[f"{name}_high"]).all()
    assert found["rank"].to_dict() == {"BC": 3, "PQ": 2, "PC": 1}


def test_pairs_begin_with_the_better_method() -> None:
    pairs = compared(made()).improvements
    assert list(pairs[["variant", "other"]].itertuples(index=False, name=None)) == [
        ("PC", "PQ"),
        ("PC", "BC"),
        ("PQ", "BC"),
    ]
    assert (pairs["improvement"] == 1).all()
    many = trials(
        (f"M{number}", levels, None, seed, 0.5 + 0.01 * number + 0.001 * seed)
        for number in range(ALL_PAIRS + 1)
        for levels in SETS[:2]
        for seed in range(2)
    )
    pairs = compared(many).improvements
    assert set(pairs["variant"]) == {f"M{ALL_PAIRS}"}  # the best of too many for all pairs
    assert len(pairs) == ALL_PAIRS


def test_methods_and_tasks_with_gaps_are_left_out() -> None:
    frame = made()
    lacking = (frame["method"] == "BC") & (frame["set"] != "binary")
    found = scored(frame[~lacking])
    assert list(found.variants) == ["PQ", "PC"]
    assert found.tasks["compared"].all()
    assert found.tasks["variants"].tolist() == [3, 2, 2, 2]
    few = scored(frame[frame["set"].isin(SETS[:2]) | (frame["method"] == "PC")])
    assert list(few.variants) == ["BC", "PQ", "PC"]
    assert few.tasks.set_index("set")["compared"].to_dict() == dict(
        zip(SETS, (True, True, False, False), strict=True)
    )


def test_methods_that_lack_different_tasks_are_compared_on_those_they_share() -> None:
    frame = made(sets=SETS[:3])
    gaps = {"PQ": "binary", "PC": "quaternary", "BC": ""}
    found = scored(frame[frame["set"] != frame["method"].map(gaps)])
    assert list(found.variants) == ["BC", "PQ"]  # as many cells as BC and PC on two other sets
    found = scored(frame[(frame["set"] != frame["method"].map(gaps)) & (frame["method"] != "BC")])
    assert list(found.variants) == ["PQ", "PC"]
    assert found.tasks.set_index("set")["compared"].to_dict() == {
        "ternary": True,
        "quaternary": False,
        "binary": False,
    }


def test_each_task_is_scaled_by_its_own_network_in_full_precision() -> None:
    """The method that is left out has the second dataset only, and comes first in the table."""
    easy = with_full_precision(made(sets=SETS[:1])).assign(dataset="Easy")
    hard = easy.assign(dataset="Hard", test_accuracy=easy["test_accuracy"] / 2)
    frame = pd.concat([hard[hard["method"] == "BC"], easy, hard[hard["method"] != "BC"]])
    frame = frame[(frame["method"] != "BC") | (frame["dataset"] == "Hard")]
    for column in ("trial_id", "configuration_id"):
        frame[column] = frame["dataset"] + frame[column]
    found = scored(frame.reset_index(drop=True))
    assert list(found.variants) == ["PQ", "PC"]
    assert found.tasks["dataset"].tolist() == ["Hard", "Easy"]
    chosen = frame[(frame["rho0"] == 1e-3) & (frame["method"] == "PC")]
    by_task = chosen.pivot(index="seed", columns="dataset", values="test_accuracy").to_numpy()
    full = np.array([0.9, 0.45])
    expected = (by_task - 0.1) / (full - 0.1)
    assert found.variants["PC"] == pytest.approx(expected[:, ::-1])


def test_a_run_that_diverged_counts_as_guessing() -> None:
    frame = made(noise=0.0)
    last = (frame["seed"] == 2) & (frame["method"] == "PC") & (frame["set"] == "binary")
    frame.loc[last, ["state", "test_accuracy", "validation_accuracy"]] = ["DIVERGED", None, None]
    assert scored(frame).variants["PC"][:, 0] == pytest.approx([0.8, 0.8, 0.1])
    unknown = scored(frame, classes=None)
    assert unknown.tasks["compared"].tolist() == [False, True, True, True]
    assert unknown.tasks["variants"].tolist() == [2, 3, 3, 3]


def test_all_tasks_of_a_method_have_as_many_runs_as_the_one_with_the_fewest() -> None:
    frame = made(seeds=5, noise=0.0)
    frame = frame[(frame["set"] != "ternary") | (frame["seed"] != 3)]
    frame.loc[frame["seed"] == 4, "test_accuracy"] = 0.0
    found = scored(frame)
    assert {scores.shape for scores in found.variants.values()} == {(4, 4)}
    assert found.variants["PC"][:, 1].tolist() == pytest.approx([0.82, 0.82, 0.82, 0.0])
    assert found.variants["PC"][:, 0].tolist() == pytest.approx([0.8] * 4)


def test_metrics_without_bounds_are_only_ranked() -> None:
    frame = made(noise=0.0)
    columns = {f"{split}_loss": 1 - frame[f"{split}_accuracy"] for split in ("validation", "test")}
    loss = Metric("loss", "loss", higher_is_better=False)
    findings = analyse(Measurements(frame.assign(**columns), metric=loss))
    found = findings.across_settings.set_index("method")
    assert set(found["scale"]) == {NONE}
    assert found["rank"].to_dict() == {"BC": 3, "PQ": 2, "PC": 1}
    assert "iqm" not in found
    assert findings.performance_profiles.empty
    table, pairs = across_tables(findings)
    assert list(table.body.columns) == ["method", "mean rank"]
    assert "not comparable" in table.caption
    assert len(pairs.body) == 3


def test_one_task_or_one_method_is_not_compared_over_tasks() -> None:
    for frame in (made(sets=SETS[:1]), made().query("method == 'PC'")):
        assert compared(frame).across.empty
        findings = analyse(Measurements(frame.reset_index(drop=True)))
        assert not list(across_tables(findings))
        assert findings.tasks.empty


def test_the_table_says_what_is_significant_and_what_its_numbers_are() -> None:
    findings = analyse(Measurements(with_full_precision(made()).assign(classes=10)))
    table, pairs = across_tables(findings)
    assert list(table.body.columns) == [
        "method",
        "IQM %",
        "median %",
        "mean %",
        "gap %",
        "mean rank",
    ]
    assert table.body["mean rank"].tolist() == ["3.00", "__2.00__", "__1.00__"]
    assert "4 tasks (4 sets)" in table.caption
    assert "from guessing (0) to" in table.caption
    assert "Mean ranks that differ by less than 1.66" in table.caption
    assert "p = 0.018" in table.caption
    assert pairs.body["methods"].tolist() == ["PC - PQ", "PC - BC", "PQ - BC"]
    lacking = analyse(Measurements(made().query("method != 'BC' or set == 'binary'")))
    assert "Not compared, as they lack tasks: BC." in next(across_tables(lacking)).caption


def test_variants_and_methods_without_a_result_that_are_left_out_are_named() -> None:
    frame = made(sets=SETS[:3], noise=0.0)
    frame = frame[frame["method"] != "PQ"].assign(**{"axis.theta": ""})
    is_pc, no_result = frame["method"] == "PC", ["state", "test_accuracy", "validation_accuracy"]
    zero, one = (frame[is_pc].assign(**{"axis.theta": theta}) for theta in ("0", "1"))
    one = one[one["set"] != "quaternary"]
    waits = frame[~is_pc].assign(method="XX")
    waits[no_result] = ["WAITING", None, None]
    for part, ending in ((one, " theta=1"), (waits, " XX")):
        part[["trial_id", "configuration_id"]] += ending
    whole = pd.concat([frame[~is_pc], zero, one, waits], ignore_index=True)
    whole[no_result[1:]] = whole[no_result[1:]].astype(float)
    findings = analyse(Measurements(whole))
    assert findings.across_settings["variant"].tolist() == ["BC", "PC theta=0"]
    assert "they lack tasks: PC theta=1, XX." in next(across_tables(findings)).caption
    knob = whole.assign(**{"knob.theta": "linear"})
    assert analyse(Measurements(knob)).left_out == ("XX",)


def test_further_axes_are_chosen_if_they_are_knobs_and_named_otherwise() -> None:
    frame = made(noise=0.0)
    worse = frame.assign(
        trial_id=frame["trial_id"] + "b",
        configuration_id=frame["configuration_id"] + "b",
        test_accuracy=frame["test_accuracy"] - 0.1,
        validation_accuracy=frame["validation_accuracy"] - 0.1,
    )
    both = pd.concat([frame.assign(**{"axis.lr": "1"}), worse.assign(**{"axis.lr": "2"})])
    both = both.reset_index(drop=True)
    apart = analyse(Measurements(both)).across_settings
    assert len(apart) == 6
    assert "PC lr=2" in set(apart["variant"])
    together = analyse(Measurements(both.assign(**{"knob.lr": "log"}))).across_settings
    assert together["variant"].tolist() == ["BC", "PQ", "PC"]
    best = apart.set_index("variant")["mean"]
    assert together.set_index("variant")["mean"]["PC"] == pytest.approx(best["PC lr=1"])


def test_a_profile_is_the_measure_at_each_threshold() -> None:
    scores = scored(with_full_precision(made(noise=0.05)))
    profiles = across_settings(scores).profiles
    rng = np.random.default_rng(20212)  # that of the report, whose draws are these
    for name, own in scores.variants.items():
        counts = resamples(rng.integers(len(own), size=(2000, *own.shape)))
        rows = profiles[profiles["variant"] == name]
        assert len(rows) == 101
        for row in rows.to_dict("records"):
            threshold = np.array([row["threshold"]])
            assert row["share"] == (own > threshold).mean()
            of_resamples = performance_profile(own, counts, threshold)
            low, high = np.quantile(of_resamples, [0.025, 0.975])
            assert (row["share_low"], row["share_high"]) == pytest.approx((low, high))
