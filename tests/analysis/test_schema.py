"""Tables from anywhere are checked, and the message names the column."""

import io
from typing import Any

import pandas as pd
import pytest

from analysis.schema import Measurements, SchemaError, validate_history, validate_trials
from tests.analysis.frames import EXAMPLE, trials


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
        (lambda f: f.assign(rho0=-0.1), "rho0 = -0.1: must be >= 0"),
    ],
)
def test_wrong_tables_are_named(change: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        validate_trials(change(trials(EXAMPLE)))


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
