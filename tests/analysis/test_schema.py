"""Tables from anywhere are checked, and the message names the column."""

import io
from typing import Any

import pandas as pd
import pytest

from analysis.schema import Measurements, SchemaError, validate_history, validate_trials
from analysis.statistics.aggregate import configurations
from tests.analysis.frames import EXAMPLE, trials

MIXED: dict[str, Any] = {
    "method": "X",
    "set": "binary",
    "rho0": [float("nan")] * 2 + [0.1] * 8,
    "configuration_id": list("aabbbbbbbb"),
    "seed": [0, 1, *range(8)],
}
"""One configuration without rho0 and one with, alike but for that."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="rho0"), "no column 'rho0'; the table needs sweep, trial_id"),
        (lambda f: f.assign(trial_id="same"), "trial_id 'same' stands there twice"),
        (lambda f: f.assign(state="DONE"), "state 'DONE' is not one of COMPLETE"),
        (lambda f: f.assign(test_accuracy=93.1), "'test_accuracy' must hold fractions"),
        (lambda f: f.assign(seed="one"), "column 'seed' is .* must hold numbers"),
        (lambda f: f.assign(bits="two"), "column 'bits' is .* must hold numbers"),
        (lambda f: f.assign(test_accuracy=float("nan")), "COMPLETE trial has no test_accuracy"),
        (lambda f: f.assign(rho0=-0.1), "rho0 = -0.1: must be >= 0 and finite"),
        (lambda f: f.assign(rho0=float("inf")), "rho0 = inf: must be >= 0 and finite"),
        (lambda f: f.assign(seed=float("nan")), "a trial has no seed"),
        (lambda f: f.assign(seed=0), "seed 0 of configuration_id 'FP--None' stands there twice"),
        (lambda f: f.assign(regime=["a", "b"] * 5), "'FP--None' stands for different configura"),
        (lambda f: f.assign(configuration_id=f["trial_id"]), "'t1' and others have the same data"),
        (lambda f: f.assign(**MIXED), "some trials have a rho0 and some have none"),
        (lambda f: f.assign(**{"a": 1}).rename(columns={"a": 7}), "column 7: names of columns"),
    ],
)
def test_wrong_tables_are_named(change: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        validate_trials(change(trials(EXAMPLE)))


def test_other_types_and_rows_become_plain() -> None:
    odd = trials(EXAMPLE).convert_dtypes()
    odd.index = [0] * len(odd)
    frame = validate_trials(odd)
    assert list(frame.index) == list(range(10))
    assert frame["rho0"].dtype == frame["test_accuracy"].dtype == "float64"
    pd.testing.assert_frame_equal(configurations(odd), configurations(trials(EXAMPLE)))


def test_history_is_checked() -> None:
    text = (
        "trial_id,stage,epoch,step,learning_rate,sharpness,train_loss,validation_accuracy_latent,"
        "validation_accuracy_proximal,validation_accuracy_hard,quantization_gap,seconds\n"
        "a,quantize,1,7,0.1,0,2.3,0.1,0.1,0.1,0,1\n"
    )
    frame = pd.read_csv(io.StringIO(text))
    assert validate_history(frame).equals(frame)
    with pytest.raises(SchemaError, match="an epoch of a trial stands there twice"):
        validate_history(pd.concat([frame, frame]))
    with pytest.raises(SchemaError, match="no column 'stage'"):
        validate_history(frame.drop(columns="stage"))


def test_everything_else_may_be_missing_and_is_checked_if_not() -> None:
    measurements = Measurements(trials(EXAMPLE))
    assert len(measurements.history) == len(measurements.maps) == 0
    with pytest.raises(SchemaError, match="maps: no column 'figure'"):
        Measurements(trials(EXAMPLE), maps=pd.DataFrame({"latent": [0.0]}))
