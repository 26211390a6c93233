"""Decisions from tables of trials, and what a report shows of them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.columns import ADDED
from analysis.deciding.decisions import Decision, decisions
from analysis.findings import analyse
from analysis.metric import ACCURACY
from analysis.schema import Measurements
from analysis.tables.findings import all_tables
from tests.analysis.frames import grid, trials

FIRST = 3


def sweep(noise: float, *, seeds: int, seed: int = 0) -> pd.DataFrame:
    """PQ with an effect of rho0 and PC without one; the seeds from `FIRST` on were added."""
    frame = grid(
        lambda method, _, place, run: 0.9 - 0.2 * (method == "PQ") * (place == 0),
        sets=("binary",),
        seeds=seeds,
        noise=noise,
        seed=seed,
    )
    return frame.assign(**{ADDED: np.where(frame["seed"] < FIRST, "", "ρ0 of PC on binary")})


def by_name(frame: pd.DataFrame, **options: int) -> dict[str, Decision]:
    return {one.about: one for one in decisions(frame, ACCURACY, **options)}


def test_each_question_is_asked_once_and_answered() -> None:
    found = by_name(sweep(0.0005, seeds=FIRST))
    assert list(found) == ["ρ0 of PQ on binary", "ρ0 of PC on binary", "PQ and PC on binary"]
    assert [(one.answer, one.is_decided) for one in found.values()] == [
        ("sensitive", True),
        ("stable", True),
        ("tie", True),
    ]
    comparison = found["PQ and PC on binary"].question
    assert comparison.configurations[0].startswith("PQ-binary-0.")
    assert len(comparison.configurations) == 2


def test_answers_depend_on_whole_looks_only() -> None:
    """Trials that have not ended, and those after the look that decides, change nothing."""
    frame = sweep(0.02, seeds=12)
    whole = by_name(frame[frame["seed"] < 5], most=20)["ρ0 of PC on binary"]
    assert (whole.seeds, whole.next_seeds) == (5, 8)
    late = frame["seed"].between(5, 7) & (frame["method"] == "PC") & (frame["rho0"] == 0.1)
    states = frame.assign(state=frame["state"].mask(late, "RUNNING"))
    states.loc[late, ["validation_accuracy", "test_accuracy"]] = np.nan
    same = by_name(states[states["seed"] < 8].sample(frac=1, random_state=1), most=20)
    again = same["ρ0 of PC on binary"]
    for field in ("answer", "seeds", "estimate", "low", "high", "next_seeds", "expected_seeds"):
        assert getattr(again, field) == getattr(whole, field)
    decided = by_name(frame)["ρ0 of PQ on binary"]
    assert decided.seeds == 3
    assert decided.is_decided


def test_added_seeds_have_no_part_in_the_choice_of_rho0() -> None:
    """The rho0 with the best validation score of the first seeds is compared."""
    frame = sweep(0.003, seeds=5)
    added = frame[ADDED] != ""
    worst = added & (frame["method"] == "PC")
    frame.loc[worst & (frame["rho0"] == 0.001), "validation_accuracy"] = 1.0
    first = by_name(frame[~added])["PQ and PC on binary"].question.configurations
    assert by_name(frame)["PQ and PC on binary"].question.configurations == first


def test_a_diverged_trial_makes_a_method_sensitive() -> None:
    rows = [
        ("PC", "binary", rho0, seed, None if (rho0, seed) == (0.1, 1) else 0.9 + 0.001 * seed)
        for rho0, seed in product((0.1, 0.2), range(3))
    ]
    [one, *_] = decisions(trials(rows).assign(**{ADDED: ""}))
    assert (one.answer, one.is_decided, one.seeds) == ("sensitive", True, 3)


def test_a_method_of_which_all_trials_diverge_fails_as_in_other_reports() -> None:
    rows = [("PC", "binary", rho0, seed, None) for rho0, seed in product((0.1, 0.2), range(3))]
    frame = trials([*rows, *(("PQ", "binary", 0.1, seed, 0.9) for seed in range(3))])
    [one] = decisions(frame.assign(**{ADDED: ""}))
    assert (one.answer, one.is_decided, one.seeds) == ("fails", True, 3)
    decided, plain = (
        analyse(Measurements(of)).verdicts[["verdict", "reason"]]
        for of in (frame.assign(**{ADDED: ""}), frame)
    )
    pd.testing.assert_frame_equal(decided, plain)


def test_seeds_that_diverged_are_not_expected_to_decide_a_comparison() -> None:
    """The forecast is of a later look, although fewer seeds than those of the last one count."""
    differences = {0: 0.04, 2: 0.02, 5: 0.04, 7: 0.02}
    rows = [
        *(("BC", "binary", None, seed, 0.9) for seed in range(8)),
        *(
            ("rBC", "binary", None, seed, 0.9 + differences[seed] if seed in differences else None)
            for seed in range(8)
        ),
    ]
    frame = trials(rows)
    frame[ADDED] = np.where(frame["seed"] < FIRST, "", "BC and rBC on binary")
    (one,) = decisions(frame, most=200)
    assert (one.seeds, one.answer, one.next_seeds) == (8, "open", 12)
    assert one.expected_seeds is not None
    assert one.expected_seeds >= 12
    assert one.distance > 0


def test_a_question_without_whole_looks_is_unfinished() -> None:
    frame = sweep(0.003, seeds=1)
    found = by_name(frame)
    assert {one.answer for one in found.values()} == {"unfinished"}
    assert {one.next_seeds for one in found.values()} == {2}
    for most, expected in ((None, None), (1, None), (2, 2)):
        forecast = by_name(frame, **({} if most is None else {"most": most}))
        assert {one.expected_seeds for one in forecast.values()} == {expected}


def test_no_interval_is_wider_than_accuracies_are() -> None:
    comparison = by_name(sweep(0.3, seeds=2))["PQ and PC on binary"]
    assert comparison.low == -1.0
    assert comparison.estimate < comparison.high <= 1.0


def test_a_report_shows_the_answers_of_the_looks_and_what_was_added() -> None:
    """Seeds that only a comparison has added do not make other configurations incomplete."""
    frame = sweep(0.003, seeds=5)
    rho0 = by_name(frame)["PQ and PC on binary"].question.rho0
    chosen = (frame["method"] == "PQ") & (frame["rho0"] == rho0[0])
    chosen |= (frame["method"] == "PC") & (frame["rho0"] == rho0[1])
    frame = frame[(frame[ADDED] == "") | chosen]
    measured = Measurements(frame)
    findings = analyse(measured)
    assert list(findings.sensitivity["verdict"]) == ["sensitive", "stable"]
    assert findings.sensitivity["p_corrected"].isna().all()
    assert (findings.configurations["absent"] == 0).all()
    of_first = analyse(Measurements(frame[frame[ADDED] == ""].drop(columns=ADDED)))
    pd.testing.assert_series_equal(
        findings.sensitivity["range"], of_first.sensitivity["range"], check_exact=True
    )
    assert list(findings.added["seeds"]) == ["3-4", "3-4"]
    assert findings.decisions["decided"].all()
    names = {table.name for table in all_tables(findings, measured.importance)}
    assert {"decisions", "added"} <= names


def test_a_sweep_that_was_never_run_until_decided_has_no_such_tables() -> None:
    findings = analyse(Measurements(sweep(0.003, seeds=3).drop(columns=ADDED)))
    assert findings.decisions.empty
    assert findings.added.empty


@pytest.mark.parametrize("seeds", [3, 5])
def test_lower_values_that_are_better_have_the_same_answers(seeds: int) -> None:
    """A loss is the negative of a score."""
    from analysis.metric import Metric

    loss = Metric("loss", "loss", higher_is_better=False)
    frame = sweep(0.003, seeds=seeds)
    names = {"validation_accuracy": "validation_loss", "test_accuracy": "test_loss"}
    other = frame.rename(columns=names)
    other[list(names.values())] = 1 - other[list(names.values())]
    score = analyse(Measurements(frame), margin=0.03).decisions
    found = analyse(Measurements(other, metric=loss), margin=0.3).decisions
    assert list(found["answer"])[:2] == list(score["answer"])[:2]
    pair = found["question"] == "comparison"
    assert (found.loc[pair, "low"] <= found.loc[pair, "estimate"]).all()
    assert found.loc[pair, "estimate"].iloc[0] == pytest.approx(
        -score.loc[pair, "estimate"].iloc[0]
    )
