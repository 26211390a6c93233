"""Sensitivity to rho0: against scipy and statsmodels, and on grids whose answer is known."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.findings import analyse
from analysis.metric import Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.method_verdicts import method_verdicts
from analysis.statistics.regrets import probability_best, regrets
from analysis.statistics.sensitivity import range_within, sensitivity, slopes_of
from analysis.tables.verdicts import verdict_table
from tests.analysis.frames import EXAMPLE, grid, trials


def analysed(frame: pd.DataFrame, **options: float) -> pd.DataFrame:
    return sensitivity(configurations(frame), frame, **options)


def test_by_hand() -> None:
    row = analysed(trials(EXAMPLE)).set_index("method").loc["PC"]
    assert (row["choices"], row["lowest_rho0"], row["highest_rho0"]) == (2, 0.01, 0.1)
    assert (row["best_rho0"], row["worst_rho0"], row["decades"]) == pytest.approx((0.01, 0.1, 1))
    assert row["range"] == pytest.approx(0.94 - 0.805)
    assert row["relative_drop"] == pytest.approx((0.94 - 0.805) / 0.94)
    assert row["slope"] == pytest.approx(0.805 - 0.94)
    assert row["p_best"] == 1.0


def test_is_what_scipy_and_statsmodels_say() -> None:
    frame = grid(lambda method, levels, place, seed: 0.8 + 0.01 * place, noise=0.01, seeds=4)
    frame = frame.drop(index=[0, 5]).reset_index(drop=True)  # some rho0 have fewer seeds
    found = analysed(frame).set_index(["method", "set"])
    ps = []
    for key, part in frame.groupby(["method", "set"], sort=False):
        groups = [own["test_accuracy"].to_numpy() for _, own in part.groupby("rho0")]
        row = found.loc[key]
        assert row["p"] == pytest.approx(stats.f_oneway(*groups).pvalue)
        ps.append(row["p"])
        means = [group.mean() for group in groups]
        best, worst = int(np.argmax(means)), int(np.argmin(means))
        tukey = stats.tukey_hsd(*groups).confidence_interval(0.95)
        assert row["range_upper"] == pytest.approx(tukey.high[best, worst], abs=1e-6)
        line = sm.OLS(part["test_accuracy"], sm.add_constant(np.log10(part["rho0"]))).fit()
        assert row["slope"] == pytest.approx(line.params["rho0"])
    corrected = multipletests(ps, method="fdr_bh")[1]
    assert found["p_corrected"].tolist() == pytest.approx(corrected)


def test_planted_answers_come_out() -> None:
    effects = {"binary": 0.2, "ternary": 0.0, "quaternary": 0.012}
    frame = grid(
        lambda method, levels, place, seed: 0.9 - effects[levels] * place / 2,
        methods=("PC",),
        sets=tuple(effects),
        noise=0.002,
        seeds=5,
    )
    found = analysed(frame).set_index("set")
    assert found["verdict"].to_dict() == {
        "binary": "sensitive",
        "ternary": "stable",
        "quaternary": "stable",
    }
    assert found.loc["quaternary", "p_corrected"] < 0.05  # real, and small
    assert found.loc["binary", "slope"] == pytest.approx(-0.1, abs=0.005)
    (verdict,) = method_verdicts(found.reset_index()).to_dict("records")
    assert verdict["verdict"] == "sensitive"
    assert verdict["at"] == "binary"
    assert verdict["sets"] == "sensitive: binary; stable: ternary, quaternary"


def test_the_reason_names_the_cell_of_the_largest_range() -> None:
    frame = grid(
        lambda method, levels, place, seed: 0.9 - 0.1 * place * (levels == "0.5"),
        methods=("PC",),
        sets=("0", "0.5"),
        noise=0.002,
    )
    frame = frame.assign(**{"axis.theta": frame["set"], "set": "binary"})
    (verdict,) = method_verdicts(analysed(frame)).to_dict("records")
    assert verdict["at"] == "binary, theta=0.5"
    text = r"by up to 2\d\.\d points \(at most 2\d\.\d at 95 %\) over ρ0 on binary, theta=0\.5\."
    assert re.search(text, verdict["reason"])


def test_a_planted_interaction_is_seen_set_by_set() -> None:
    """rho0 helps on one set as much as it harms on the other: on average, nothing."""
    frame = grid(
        lambda method, levels, place, seed: 0.7 + (0.1 if levels == "binary" else -0.1) * place,
        methods=("PQ",),
        noise=0.005,
    )
    found = analysed(frame).set_index("set")
    assert found["verdict"].tolist() == ["sensitive", "sensitive"]
    assert found.loc["binary", "slope"] == pytest.approx(0.1, abs=0.01)
    assert found.loc["ternary", "slope"] == pytest.approx(-0.1, abs=0.01)


def test_planted_ties_share_the_probability_of_being_best() -> None:
    frame = grid(lambda method, levels, place, seed: 0.9 + 0.01 * seed)
    found = analysed(frame)
    assert found["p_best"].tolist() == pytest.approx([1 / 3] * 4, abs=0.05)
    assert found["range"].tolist() == pytest.approx([0] * 4)
    assert set(found["verdict"]) <= {"stable", "noise"}
    assert regrets(configurations(frame), frame)["regret"].tolist() == pytest.approx([0] * 12)


@pytest.mark.parametrize(("noise", "expected"), [(0.03, "noise"), (0.001, "stable")])
def test_pure_noise_is_called_noise(noise: float, expected: str) -> None:
    verdicts = []
    for seed in range(25):
        frame = grid(
            lambda *_: 0.6,
            methods=("PQ", "rPC", "PC"),
            sets=("binary", "ternary", "quaternary"),
            noise=noise,
            seed=seed,
        )
        verdicts += analysed(frame)["verdict"].tolist()
    assert verdicts.count(expected) / len(verdicts) > 0.95
    assert verdicts.count("sensitive") / len(verdicts) < 0.02


def test_a_real_effect_near_the_margin_is_mild() -> None:
    frame = grid(
        lambda method, levels, place, seed: 0.9 - 0.0125 * place + 0.004 * (-1) ** seed,
        methods=("PC",),
        sets=("binary",),
        seeds=4,
    )
    (row,) = analysed(frame).to_dict("records")
    assert row["range"] < 0.03 < row["range_upper"]
    assert row["verdict"] == "mild"
    assert analysed(frame, margin=0.01)["verdict"].tolist() == ["sensitive"]


def test_one_seed_is_not_tested() -> None:
    frame = grid(lambda method, levels, place, seed: 0.9 - 0.1 * place, seeds=1)
    found = analysed(frame)
    assert set(found["verdict"]) == {"untested"}
    assert found["p_best"].isna().all()
    assert (method_verdicts(found)["verdict"] == "untested").all()


def test_probability_best_of_two_by_enumeration() -> None:
    """{0, 3} against {1, 2}: of 16 pairs of resamples, 5 are won, 5 lost and 6 are equal."""
    first, second = probability_best(
        [np.array([0.0, 3.0]), np.array([1.0, 2.0])], np.random.default_rng(0)
    )
    wins = ties = 0
    for a in (0, 3):
        for b in (0, 3):
            for c in (1, 2):
                for d in (1, 2):
                    wins += a + b > c + d
                    ties += a + b == c + d
    assert first == pytest.approx((wins + ties / 2) / 16, abs=0.03)
    assert first + second == pytest.approx(1)


def test_regret_by_hand() -> None:
    frame = trials(EXAMPLE)
    found = regrets(configurations(frame), frame).set_index(["method", "rho0"])["regret"]
    assert found.loc[("PC", 0.01)] == 0
    assert found.loc[("PC", 0.1)] == pytest.approx(0.135)


def test_rho0_of_zero_has_no_decade_and_no_part_in_the_slope() -> None:
    frame = grid(
        lambda method, levels, place, seed: (0.2, 0.8, 0.9)[place],
        rho0=(0.0, 0.1, 1.0),
        noise=1e-4,
    )
    found = analysed(frame)
    assert found["decades"].isna().all()
    assert found["slope"].tolist() == pytest.approx([0.1] * 4, abs=1e-3)


def test_a_rho0_at_which_seeds_diverge_makes_a_method_sensitive() -> None:
    rows = [("PC", "binary", rho0, seed, 0.95) for rho0 in (0.01, 0.1) for seed in range(3)]
    frame = trials(rows + [("PC", "binary", 1.0, seed, None) for seed in range(3)])
    (row,) = analysed(frame).to_dict("records")
    assert (row["grid"], row["choices"], row["diverged"]) == (3, 2, 3)
    assert row["verdict"] == "sensitive"
    (verdict,) = method_verdicts(analysed(frame)).to_dict("records")
    assert verdict["choices"] == "2 of 3"
    assert (verdict["lowest_rho0"], verdict["highest_rho0"]) == (0.01, 0.1)
    assert verdict["reason"].endswith(" over ρ0 on binary, and 3 trials diverged.")


def test_what_is_not_finished_is_not_called_stable() -> None:
    frame = grid(lambda *_: 0.9, noise=0.001)
    late = (frame["set"] == "ternary") & (frame["rho0"] == 0.1)
    frame.loc[late, "state"] = "WAITING"
    found = analysed(frame)
    assert found["verdict"].tolist() == ["stable", "unfinished"] * 2
    assert found["missing"].tolist() == [0, 3] * 2
    verdicts = method_verdicts(found)
    assert set(verdicts["verdict"]) == {"unfinished"}
    assert verdicts["reason"].iloc[0].endswith(", and 3 trials have not finished.")


def test_what_is_not_there_is_told_apart_from_what_has_not_finished() -> None:
    frame = grid(lambda *_: 0.9, methods=("PC",), sets=("binary",), noise=0.001)
    lost = frame[(frame["rho0"] < 0.1) | (frame["seed"] < 1)].reset_index(drop=True)
    lost.loc[0, "state"] = "RUNNING"
    (row,) = analysed(lost).to_dict("records")
    assert (row["verdict"], row["missing"], row["absent"]) == ("unfinished", 3, 2)
    (verdict,) = method_verdicts(analysed(lost)).to_dict("records")
    assert verdict["reason"].endswith(", 1 trial has not finished, and 2 trials are absent.")


def test_collapsing_seeds_are_no_noise() -> None:
    """Their variance hides them from an analysis of variance."""
    accuracies = {0.01: (0.90, 0.901, 0.899), 0.1: (0.90, 0.1, 0.1), 1.0: (0.9, 0.901, 0.902)}
    frame = trials(
        ("PC", "binary", rho0, seed, accuracy)
        for rho0, seeds in accuracies.items()
        for seed, accuracy in enumerate(seeds)
    )
    (row,) = analysed(frame).to_dict("records")
    assert row["p"] > 0.05
    assert (row["verdict"], row["collapsed"]) == ("sensitive", 2)
    assert row["range_upper"] <= 1


def test_seeds_that_do_not_differ_prove_nothing() -> None:
    accuracies = {0.01: (0.9, 0.9), 0.1: (0.92, 0.92), 1.0: (0.9, 0.9)}
    for alike in (accuracies, {**accuracies, 1.0: (0.91,)}):
        frame = trials(
            ("PC", "binary", rho0, seed, accuracy)
            for rho0, seeds in alike.items()
            for seed, accuracy in enumerate(seeds)
        )
        # The last has a seed less, which is therefore missing.
        expected = "untested" if len(frame) == 6 else "unfinished"
        assert analysed(frame)["verdict"].tolist() == [expected]


def test_noise_is_noise_beside_a_loss_that_exploded() -> None:
    """At one of three rho0, all seeds have the same large loss; the others have noise as usual."""
    losses = {0.1: (0.2, 0.21, 0.22), 1.0: (0.3, 0.31, 0.33), 10.0: (1e10,) * 3}
    frame = trials(
        ("PC", "binary", rho0, seed, loss)
        for rho0, own in losses.items()
        for seed, loss in enumerate(own)
    ).rename(columns=lambda name: name.replace("accuracy", "loss"))
    loss = Metric("loss", "loss", higher_is_better=False)
    (row,) = sensitivity(configurations(frame, loss), frame, loss).to_dict("records")
    assert row["p"] < 1e-6
    assert row["p_best"] == 1


def test_a_method_at_chance_everywhere_is_not_noise() -> None:
    heights = {"PC": (0.12, 0.10, 0.08), "PQ": (0.10, 0.10, 0.9)}
    frame = grid(
        lambda method, levels, place, seed: heights[method][place] + 0.005 * ((seed + place) % 3),
        sets=("binary",),
    )
    of = analysed(frame).set_index("method")
    assert of["chance"].isna().all()
    assert of.loc["PC", "verdict"] == "sensitive"  # 4 points, if nobody knows how many classes
    table = configurations(frame).assign(classes=10.0)
    of = sensitivity(table, frame, margin=0.1).set_index("method")
    assert of["verdict"].to_dict() == {"PC": "fails", "PQ": "sensitive"}
    many = sensitivity(table.assign(classes=1000.0), frame, margin=0.1).set_index("method")
    assert many.loc["PC", "verdict"] == "stable"  # 12 % is far from chance there


def test_the_number_of_classes_tells_what_an_empty_cell_of_chance_does_not() -> None:
    frame = grid(lambda *_: 0.1, noise=0.002, methods=("PC",), seed=1).assign(classes=10.0)
    for chance in (np.nan, [0.02 if name == "ternary" else np.nan for name in frame["set"]]):
        found = analyse(Measurements(frame.assign(chance=chance))).sensitivity.set_index("set")
        assert found.loc["binary", ["chance", "verdict"]].tolist() == [0.1, "fails"]
        is_known = not np.isscalar(chance)
        assert found.loc["ternary", "verdict"] == ("stable" if is_known else "fails")
    late = frame["rho0"] > 1e-3  # as in a sweep that was joined
    some = frame.drop(columns="classes").assign(chance=np.where(late, 0.1, np.nan))
    assert analyse(Measurements(some)).verdicts["verdict"].tolist() == ["fails"]


def test_a_method_that_diverges_at_every_rho0_does_not_work_at_any() -> None:
    rows = [("PC", "binary", rho0, seed, None) for rho0 in (0.1, 1.0) for seed in (0, 1)]
    assert analysed(trials(rows))["verdict"].tolist() == ["fails"]
    some = [*rows[:-1], ("PC", "binary", 1.0, 1, 0.9)]
    assert analysed(trials(some))["verdict"].tolist() == ["sensitive"]


def test_rho0_that_have_not_run_decide_nothing() -> None:
    """At chance with one of three rho0, a method has not failed, nor was it tried over decades."""
    chance = 0.1 + 0.001 * np.arange(3)
    frame = grid(
        lambda method, levels, place, seed: (chance[seed], 0.9 - 0.002 * seed)[levels == "binary"],
        methods=("PC",),
    )
    ternary = frame["set"] == "ternary"
    late = ternary & (frame["rho0"] > 1e-3)
    waiting = frame.assign(state=np.where(late, "WAITING", "COMPLETE"))
    whole, part = (configurations(of).assign(classes=10.0) for of in (frame, waiting))
    assert sensitivity(whole, frame).set_index("set").loc["ternary", "verdict"] == "fails"
    found = sensitivity(part, waiting)
    assert found.set_index("set").loc["ternary", "verdict"] == "unfinished"
    (verdict,) = method_verdicts(found).to_dict("records")
    assert (verdict["decades"], verdict["least_decades"]) == pytest.approx((2, 0))
    table = verdict_table(analyse(Measurements(waiting)))
    assert table.body["ρ0 tried"].tolist() == ["1 to 3 of 3 from 1e-3 to 0.1 (0.0 to 2.0 decades)"]
    assert "Every method was tried over 0.0 to 2.0 decades of ρ0." in table.caption
    # More values can only make the range larger.
    drop = 0.2 * (~ternary & (frame["rho0"] == 0.1))
    worse = waiting.assign(test_accuracy=frame["test_accuracy"] - drop)
    (verdict,) = method_verdicts(sensitivity(configurations(worse), worse)).to_dict("records")
    assert verdict["verdict"] == "sensitive"


def test_a_method_without_finished_trials_was_tried_over_no_decades() -> None:
    frame = grid(lambda *_: 0.9, noise=0.001)
    frame.loc[frame["method"] == "PC", "state"] = "WAITING"
    table = verdict_table(analyse(Measurements(frame)))
    assert "PQ over 2.0, PC over 0.0." in table.caption
    diverged = frame.assign(state=np.where(frame["seed"] == 0, "DIVERGED", frame["state"]))
    of = analysed(diverged).set_index("method")["verdict"]
    assert of["PC"].tolist() == ["unfinished"] * 2  # sensitive or failed: nobody knows yet


def test_grids_of_any_width_are_compared_over_equal_spans() -> None:
    line = np.array([0.0, 1.0, 3.0]), np.array([0.5, 0.9, 0.9])
    assert range_within(*line, 0.5) == pytest.approx(0.2)
    assert range_within(*line, 1.0) == pytest.approx(0.4)
    assert range_within(*line, 9.0) == pytest.approx(0.4)
    peak = np.array([2.0, 0.0, 1.0]), np.array([0.1, 0.1, 0.5])
    assert range_within(*peak, 0.75) == pytest.approx(0.3)
    rng = np.random.default_rng(0)
    places, heights = np.sort(rng.uniform(0, 3, 7)), rng.uniform(size=7)
    fine = np.linspace(places[0], places[-1], 3001)
    curve = np.interp(fine, places, heights)
    width = int(0.6 / (fine[1] - fine[0]))
    brute = max(np.ptp(curve[start : start + width + 1]) for start in range(len(fine) - width))
    assert range_within(places, heights, 0.6) == pytest.approx(brute, abs=0.01)
    wide = grid(lambda *key: 0.9 - 0.1 * key[2], methods=("PQ",), sets=("binary",))
    narrow = trials([("PC", "binary", r, s, 0.9) for r in (0.1, 0.2) for s in range(3)])
    narrow["trial_id"] += "n"
    frame = pd.concat([wide, narrow], ignore_index=True)
    of = analysed(frame).set_index("method")
    assert of["equal_span_decades"].tolist() == pytest.approx([np.log10(2)] * 2)
    assert of.loc["PQ", "equal_span_range"] == pytest.approx(0.1 * np.log10(2))
    findings = analyse(Measurements(frame))
    table = verdict_table(findings)
    row = table.body.set_index("method").loc["PQ"]
    assert row["ρ0 tried"] == "3 of 3 from 1e-3 to 0.1 (2.0 decades)"
    assert row["range over equal spans"] == "3.0 points over 0.3 decades"
    spans = "Methods were tried over different numbers of decades of ρ0: PQ over 2.0, PC over 0.3."
    assert spans in table.caption
    alone = verdict_table(analyse(Measurements(wide)))
    assert "Every method was tried over 2.0 decades of ρ0." in alone.caption
    assert "range over equal spans" not in alone.body


def test_methods_without_rho0_and_methods_that_fail_have_their_line() -> None:
    heights = {
        ("PQ", "binary"): (0.95, 0.95, 0.95),
        ("PQ", "ternary"): (0.10, 0.09, 0.10),
        ("rPC", "binary"): (0.10, 0.10, 0.09),
        ("rPC", "ternary"): (0.08, 0.10, 0.10),
    }
    noise = (0.001, -0.001, 0.002)
    annealed = grid(
        lambda method, levels, place, seed: heights[method, levels][place] + noise[seed - place],
        methods=("PQ", "rPC"),
    )
    rows = [
        ("BC", levels, None, seed, accuracy + 0.001 * seed)
        for levels, accuracy in (("binary", 0.967), ("ternary", 0.08))
        for seed in range(3)
    ]
    annealed["trial_id"] += "n"
    frame = pd.concat([trials([("FP", "", None, 0, 0.98), *rows]), annealed], ignore_index=True)
    table = configurations(frame).assign(classes=10.0)
    found = sensitivity(table, frame)
    verdicts = method_verdicts(found, table=table).set_index("method")
    assert verdicts["verdict"].to_dict() == {
        "BC": "no ρ0",
        "PQ": "fails on ternary",
        "rPC": "fails",
    }
    assert verdicts.loc["BC", "sets"] == "fails: ternary; no ρ0: binary"
    assert "test accuracy is 96.8 % (binary), 8.1 % (ternary)." in verdicts.loc["BC", "reason"]
    assert verdicts.loc["rPC", "sets"] == "fails: binary, ternary"
    assert verdicts.loc["rPC", "reason"].startswith("No ρ0 that was tried works: the highest mean ")
    assert verdicts.loc["rPC", "reason"].endswith(" %, and guessing gives 10.0 %.")
    open_ = table.assign(unfinished=(table["method"] == "BC").astype(int))
    of = method_verdicts(found, table=open_).set_index("method")
    assert of.loc["BC", "sets"] == ""  # the other seeds may work
    without = table[table["rho0"].isna()]
    assert method_verdicts(found.head(0), table=without).empty  # there is nothing to tune at all


def test_methods_with_one_rho0_and_those_of_which_all_trials_diverged_have_their_line() -> None:
    noise = (0.0, 0.001, 0.002)
    frame = trials(
        [
            *(
                ("PC", "binary", rho0, seed, 0.9 + noise[seed])
                for rho0 in (0.1, 1)
                for seed in (0, 1)
            ),
            *(("PQ", "binary", 0.1, seed, 0.9 + noise[seed]) for seed in range(3)),
            *(("PQ", "ternary", 0.2, seed, 0.1 + noise[seed]) for seed in range(3)),
            *(("rPC", "binary", 0.1, seed, None) for seed in range(3)),
            *(("BC", "binary", None, seed, 0.8 + noise[seed]) for seed in range(3)),
            *(("BC", "ternary", None, seed, None) for seed in range(3)),
            *(("rBC", "ternary", None, seed, None) for seed in range(3)),
        ],
        classes=10.0,
    )
    findings = analyse(Measurements(frame))
    found = findings.verdicts.set_index("method")
    assert found[["verdict", "sets", "reason"]].to_dict("index") == {
        "PC": found.loc["PC", ["verdict", "sets", "reason"]].to_dict(),
        "PQ": {
            "verdict": "untested",
            "sets": "fails: ternary; untested: binary",
            "reason": "Only one ρ0 was tried; test accuracy is 90.1 % (binary), 10.1 % (ternary).",
        },
        "rPC": {
            "verdict": "fails",
            "sets": "fails: binary",
            "reason": "Only one ρ0 was tried; all trials diverged.",
        },
        "BC": {
            "verdict": "no ρ0",
            "sets": "fails: ternary; no ρ0: binary",
            "reason": "There is no ρ0 to tune; all trials diverged on ternary; test accuracy is "
            "80.1 % (binary).",
        },
        "rBC": {
            "verdict": "fails",
            "sets": "fails: ternary",
            "reason": "There is no ρ0 to tune; all trials diverged.",
        },
    }
    table = verdict_table(findings)
    assert "PC over 1.0, PQ and rPC over 0.0" in table.caption
    tried = table.body.set_index("method")["ρ0 tried"].to_dict()
    assert tried["PQ"] == "1 of 1 from 0.1 to 0.2 (0.0 decades)"
    assert tried["rPC"] == "0 of 1"
    assert "range over equal spans" not in table.body


@pytest.mark.parametrize("seed", range(3))
def test_many_methods_have_the_numbers_that_each_has_alone(seed: int) -> None:
    frame = grid(
        lambda method, levels, place, run: 0.8 + 0.01 * place,
        methods=[f"M{number}" for number in range(8)],
        rho0=(0.0, 1e-3, 1e-2, 1e-1),
        seeds=4,
        noise=0.01,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    frame = frame[rng.random(len(frame)) < 0.8].reset_index(drop=True)
    late = rng.random(len(frame)) < 0.1
    frame.loc[late, "state"] = rng.choice(["DIVERGED", "WAITING"], late.sum())
    frame.loc[late, ["validation_accuracy", "test_accuracy"]] = np.nan
    frame.loc[frame["method"] == "M0", "test_accuracy"] *= 0  # of which no two seeds differ
    found = analysed(frame)
    parts = [analysed(part) for _, part in frame.groupby(["method", "set"], sort=False)]
    together = ["p_corrected", "p_best", "verdict"]
    expected = pd.concat(parts, ignore_index=True).drop(columns=together)
    spans = [name for name in found if name.startswith("equal_span")]  # of all methods, too
    pd.testing.assert_frame_equal(
        found.drop(columns=[*together, *spans]),
        expected.drop(columns=spans),
        check_dtype=False,
        rtol=1e-12,
    )


def test_slopes_are_those_of_a_fit_of_each() -> None:
    rng = np.random.default_rng(0)
    places = rng.standard_normal((20, 5))
    places[rng.random((20, 5)) < 0.3] = np.nan
    places[0] = 1.0  # a single place has no slope
    mean, n = rng.standard_normal((20, 5)), rng.integers(1, 5, (20, 5)).astype(float)
    for row, slope in enumerate(slopes_of(places, mean, n)):
        known = ~np.isnan(places[row])
        if len(np.unique(places[row][known])) < 2:
            assert np.isnan(slope)
            continue
        fit = np.polyfit(places[row][known], mean[row][known], 1, w=np.sqrt(n[row][known]))
        assert slope == pytest.approx(fit[0], rel=1e-9)
