"""The effects of knobs: those of rho0 under another name, by hand, and against brute force."""

import numpy as np
import pandas as pd
import pytest

from analysis.findings import analyse
from analysis.knob_effects.effects import knob_effects, knob_regrets
from analysis.knob_effects.settings import knob_settings
from analysis.knob_effects.verdicts import knob_verdicts
from analysis.metric import Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import configurations
from analysis.statistics.sensitivity import sensitivity
from analysis.tables.findings import all_tables
from tests.analysis.frames import EXAMPLE, grid, trials
from tests.analysis.knob_effects.tables import settings_of, with_knobs

SAME = {
    "range": "range",
    "range_upper": "range_upper",
    "slope": "slope",
    "p": "p",
    "p_corrected": "p_corrected",
    "p_best": "p_best",
    "span": "decades",
    "equal_span": "equal_span_decades",
    "equal_span_range": "equal_span_range",
    "lowest": "lowest_rho0",
    "highest": "highest_rho0",
}


def test_a_knob_on_a_logarithmic_scale_has_the_numbers_of_rho0() -> None:
    frame = grid(lambda method, levels, place, seed: 0.9 - 0.02 * place, noise=0.01)
    expected = sensitivity(configurations(frame), frame)
    renamed = frame.assign(
        **{"axis.lr": [f"{value:g}" for value in frame["rho0"]], "knob.lr": "log", "rho0": np.nan}
    )
    found = knob_effects(settings_of(renamed))
    assert found["knob"].tolist() == ["lr"] * 4
    for new, old in SAME.items():
        assert found[new].tolist() == expected[old].tolist(), new
    assert found["verdict"].tolist() == expected["verdict"].tolist()
    assert found["best_at"].astype(float).tolist() == expected["best_rho0"].tolist()


def test_rho0_alone_has_the_tables_that_it_has_always_had() -> None:
    findings = analyse(Measurements(trials(EXAMPLE)))
    names = {name for name, _ in findings.tables()}
    assert not names & {"knobs", "knob_verdicts", "knob_regrets", "interactions"}
    settings = knob_settings(configurations(trials(EXAMPLE)), trials(EXAMPLE))
    assert knob_effects(settings)["range"].tolist() == findings.sensitivity["range"].tolist()


def test_by_hand() -> None:
    """At theta = 0.5, which is the best, the accuracy falls by 4 and by 2 points from rate 0.1."""
    drops = {0.01: 0.04, 0.1: 0.0, 1.0: 0.02}
    frame = with_knobs(lambda rate, theta: 0.9 - drops[rate] - 0.1 * abs(theta - 0.5) * rate)
    rate, theta = knob_effects(settings_of(frame)).to_dict("records")
    assert (rate["knob"], rate["chosen"], rate["best_at"], rate["worst_at"]) == (
        ("rate", "0.1", "0.1", "0.01")
    )
    assert rate["range"] == pytest.approx(0.04)
    assert rate["slope"] == pytest.approx(0.01)  # 2 points over 2 decades
    assert rate["mean_regret"] == pytest.approx((0.02 + 0.01) / 2)
    assert (rate["span"], rate["equal_span_range"]) == pytest.approx((2, 0.04))
    assert (theta["knob"], theta["chosen"], theta["scale"]) == ("theta", "0.5", "linear")
    assert theta["range"] == pytest.approx(0.005)  # at rate 0.1, which stays as it was chosen
    assert (theta["slope"], theta["span"]) == pytest.approx((0, 1))
    assert theta["mean_regret"] == pytest.approx(0.0025)


def test_the_chosen_value_of_the_other_knob_is_chosen_on_validation_images() -> None:
    frame = with_knobs(lambda rate, theta: 0.9 - 0.01 * theta * np.log10(rate))
    misleading = frame["validation_accuracy"].where(frame["axis.theta"] != "0", 0.99)
    rate, theta = knob_effects(settings_of(frame.assign(validation_accuracy=misleading))).iloc
    assert theta["chosen"] == "0"
    assert rate["range"] == pytest.approx(0)  # theta = 0 has been chosen, where nothing matters


def test_values_outside_the_range_are_left_out() -> None:
    rates = (0.001, 0.01, 0.1, 1.0, 10.0)
    frame = with_knobs(
        lambda rate, theta: 0.9 if 0.01 <= rate <= 1 else 0.3,
        rates=rates,
        knobs=("log from 0.01 to 100", ""),
        thetas=(0.0,),
        noise=0.002,
    )
    frame.loc[frame["axis.rate"] == "10", "test_accuracy"] = 0.9
    found = knob_effects(settings_of(frame))
    (row,) = found.to_dict("records")
    assert (row["verdict"], row["outside"], row["grid"]) == ("stable", 1, 4)
    assert (row["lowest"], row["highest"], row["low"], row["high"]) == (0.01, 10, 0.01, 100)
    assert row["covered"] == pytest.approx(3 / 4)
    (verdict,) = knob_verdicts(found).to_dict("records")
    assert (verdict["verdict"], verdict["choices"], verdict["knob"]) == (
        ("stable", "4 of 4", "rate")
    )
    whole = frame.assign(**{"knob.rate": "log"})
    assert knob_effects(settings_of(whole))["verdict"].tolist() == ["sensitive"]


def test_values_that_an_incomplete_grid_lacks_are_not_outside() -> None:
    """At the chosen rate of 0.01, theta = 0.5 was not tried."""
    thetas = (0.0, 0.25, 0.5, 1.0)
    frame = with_knobs(lambda rate, theta: 0.5 + 0.1 * theta - 0.05 * rate, thetas=thetas)
    lacks = (frame["axis.rate"] == "0.01") & (frame["axis.theta"] == "0.5")
    found = knob_effects(settings_of(frame[~lacks])).set_index("knob")
    assert found["chosen"].to_dict() == {"rate": "0.01", "theta": "1"}
    assert found["grid"].to_dict() == {"rate": 3, "theta": 3}
    assert found["outside"].to_dict() == {"rate": 0, "theta": 0}
    limited = frame[~lacks].assign(**{"knob.theta": "linear from 0.1 to 2"})
    assert knob_effects(settings_of(limited)).set_index("knob").loc["theta", "outside"] == 1


def test_values_without_an_order_have_a_range_and_no_slope() -> None:
    means = {0.01: 0.9, 0.1: 0.8, 1.0: 0.85}
    frame = with_knobs(
        lambda rate, theta: means[rate], thetas=(0.0,), knobs=("nominal", ""), noise=0.001
    )
    (row,) = knob_effects(settings_of(frame)).to_dict("records")
    assert (row["best_at"], row["worst_at"], row["verdict"]) == ("0.01", "0.1", "sensitive")
    assert row["range"] == pytest.approx(0.1, abs=0.003)
    assert row["mean_regret"] == pytest.approx(0.05, abs=0.002)
    assert np.isnan([row["slope"], row["span"], row["lowest"], row["equal_span_range"]]).all()


def test_the_retuned_range_is_that_of_the_best_of_the_other_knob() -> None:
    rng = np.random.default_rng(3)
    means = {(rate, theta): rng.uniform(0.7, 0.9) for rate in (0.01, 0.1, 1) for theta in (0, 1)}
    frame = with_knobs(lambda rate, theta: means[rate, int(theta)], thetas=(0.0, 1.0))
    settings = settings_of(frame)
    found = knob_effects(settings).set_index("knob")
    of_rate = [max(means[rate, 0], means[rate, 1]) for rate in (0.01, 0.1, 1)]
    assert found.loc["rate", "retuned_range"] == pytest.approx(max(of_rate) - min(of_rate))
    best = max(means, key=lambda pair: means[pair])
    slice_ = [means[rate, best[1]] for rate in (0.01, 0.1, 1)]
    assert found.loc["rate", "range"] == pytest.approx(max(slice_) - min(slice_))
    regrets = knob_regrets(settings)
    regrets = regrets[regrets["knob"] == "rate"]
    assert regrets["value"].tolist() == ["0.01", "0.1", "1"]
    assert regrets["regret"].tolist() == pytest.approx([max(slice_) - value for value in slice_])


def diverged(frame: pd.DataFrame, at: pd.Series) -> pd.DataFrame:
    """The trials, of which some have diverged."""
    frame = frame.copy()
    columns = ["test_accuracy", "validation_accuracy"]
    frame.loc[at, "state"], frame.loc[at, columns] = "DIVERGED", np.nan
    return frame


@pytest.mark.parametrize(
    ("seeds", "classes", "cost"),
    [
        ((0, 1, 2), 10, 0.8),  # it has 10 % by guessing
        ((1,), 10, 0.8 / 3),
        ((0, 1, 2), 1, 0.02),  # guessing is no better than the worst value that has finished
        ((0, 1, 2), None, np.nan),
        ((), None, 0),
    ],
)
@pytest.mark.parametrize("scale", ["log", "nominal"])
def test_a_value_at_which_trials_diverge_costs_what_guessing_does(
    seeds: tuple[int, ...], classes: int | None, cost: float, scale: str
) -> None:
    means = {0.01: 0.9, 0.1: 0.88, 1.0: 0.9}
    frame = with_knobs(lambda rate, theta: means[rate], thetas=(0.0,), knobs=(scale, ""))
    frame = frame if classes is None else frame.assign(classes=classes)
    frame = diverged(frame, (frame["axis.rate"] == "1") & frame["seed"].isin(seeds))
    (row,) = analyse(Measurements(frame)).knobs.to_dict("records")
    expected = (0.02 + cost) / 3 if scale == "nominal" else (0.01 + (0.02 + cost) / 2) / 2
    assert row["mean_regret"] == pytest.approx(expected, nan_ok=True)
    assert (row["diverged"], row["range"]) == (len(seeds), pytest.approx(0.02))


def test_a_value_at_which_all_trials_diverge_has_a_regret_for_losses_too() -> None:
    frame = with_knobs(
        lambda rate, theta: 2 + rate, rates=(0.1, 0.2, 1), thetas=(0.0,), knobs=("linear", "")
    )
    losses = frame.rename(
        columns={"test_accuracy": "test_loss", "validation_accuracy": "validation_loss"}
    ).assign(chance=8.0)
    at = losses["axis.rate"] == "1"
    losses.loc[at, "state"], losses.loc[at, ["test_loss", "validation_loss"]] = "DIVERGED", np.nan
    loss = Metric("loss", "loss", higher_is_better=False)
    (row,) = analyse(Measurements(losses, metric=loss)).knobs.to_dict("records")
    assert row["mean_regret"] == pytest.approx((0.1 * 0.05 + 0.8 * (0.1 + 5.9) / 2) / 0.9)


def test_the_retuned_range_has_the_values_at_which_no_other_knob_helps() -> None:
    """At rate 1, all trials diverge; at 0.1, those with theta = 0 do."""
    frame = with_knobs(lambda rate, theta: 0.9 - 0.5 * rate * (1 - theta), thetas=(0.0, 1.0))
    helped = diverged(frame, (frame["axis.rate"] == "0.1") & (frame["axis.theta"] == "0"))
    found = analyse(Measurements(helped.assign(classes=10))).knobs.set_index("knob")
    assert found.loc["rate", "retuned_range"] == pytest.approx(0)
    failed = diverged(helped, frame["axis.rate"] == "1")
    found = analyse(Measurements(failed.assign(classes=10))).knobs.set_index("knob")
    assert found.loc["rate", "retuned_range"] == pytest.approx(0.8)
    found = analyse(Measurements(failed)).knobs.set_index("knob")
    assert np.isnan(found.loc["rate", "retuned_range"])


def test_only_methods_that_have_a_knob_are_judged() -> None:
    one = with_knobs(lambda rate, theta: 0.9, noise=0.002)
    other = with_knobs(lambda rate, theta: 0.8, noise=0.002, knobs=("", ""), method="PQ")
    other["trial_id"] = "other " + other["trial_id"]
    measurements = Measurements(pd.concat([one, other]))
    findings = analyse(measurements)
    assert findings.knob_verdicts[["method", "knob"]].to_numpy().tolist() == [
        ["PC", "rate"],
        ["PC", "theta"],
    ]
    assert set(findings.interactions["method"]) == {"PC"}
    names = {table.name for table in all_tables(findings, measurements.importance)}
    assert {"knob_verdicts", "knobs", "knob_regrets", "interactions"} <= names


def test_grids_of_different_widths_are_compared_over_equal_spans() -> None:
    def accuracy(rate: float, theta: float) -> float:
        return 0.9 - 0.02 * np.log10(rate)

    one = with_knobs(accuracy, thetas=(0.0,), knobs=("log", ""), rates=(0.001, 0.01, 0.1, 1))
    other = with_knobs(accuracy, thetas=(0.0,), knobs=("log", ""), rates=(0.1, 1), method="PQ")
    other["trial_id"] = "other " + other["trial_id"]
    found = knob_effects(settings_of(pd.concat([one, other]))).set_index("method")
    assert found["range"].tolist() == pytest.approx([0.06, 0.02])
    assert found["equal_span"].tolist() == pytest.approx([1, 1])
    assert found["equal_span_range"].tolist() == pytest.approx([0.02, 0.02])


def test_the_range_of_a_knob_is_the_same_for_losses() -> None:
    frame = with_knobs(
        lambda rate, theta: 0.5 + 0.1 * theta,
        noise=0.01,
        knobs=("log from 0.001 to 10", "linear from 0 to 2"),
    )
    losses = frame.rename(
        columns={"test_accuracy": "test_loss", "validation_accuracy": "validation_loss"}
    )
    loss = Metric("loss", "loss", higher_is_better=False)
    findings = analyse(Measurements(losses, metric=loss))
    for table in (findings.knobs, findings.knob_verdicts):
        assert table[["low", "high"]].to_numpy().tolist() == [[0.001, 10], [0, 2]]
    assert findings.knobs["best"].between(0.45, 0.55).all()  # the loss, and not its negative


def test_trials_that_have_not_finished_leave_it_open() -> None:
    frame = with_knobs(lambda rate, theta: 0.9, noise=0.002)
    waits = (frame["axis.rate"] == "1") & (frame["seed"] == 0)
    columns = ["test_accuracy", "validation_accuracy"]
    frame.loc[waits, "state"], frame.loc[waits, columns] = "WAITING", np.nan
    found = knob_effects(settings_of(frame)).set_index("knob")
    assert found.loc["rate", ["verdict", "missing"]].tolist() == ["unfinished", 1]
    none = frame.assign(state="WAITING", test_accuracy=np.nan, validation_accuracy=np.nan)
    assert knob_effects(settings_of(none))["verdict"].tolist() == ["unfinished"] * 2
