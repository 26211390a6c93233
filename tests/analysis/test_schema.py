"""Tables from anywhere are checked, and the message names the column."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.reading import read_trials
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
        (lambda f: f.drop(columns="rho0"), "'rho0' .*needs sweep, trial_id"),
        (lambda f: f.assign(trial_id="same"), "trial_id 'same' .*once; remove the dup"),
        (lambda f: f.assign(state="DONE"), "state 'DONE' .*one of COMPLETE"),
        (lambda f: f.assign(test_accuracy=93.1), "'test_accuracy' .*93.1; .*fractions"),
        (lambda f: f.assign(seed="one"), "column 'seed' .* must hold numbers"),
        (lambda f: f.assign(bits="two"), "column 'bits' .* must hold numbers"),
        (lambda f: f.assign(test_accuracy=float("nan")), "'t0' has no test_accuracy; fill it in"),
        (lambda f: f.assign(rho0=-0.1), "'rho0' .*-0.1; it must be finite and >= 0"),
        (lambda f: f.assign(rho0=float("inf")), "'rho0' .*inf; it must be finite and >= 0"),
        (lambda f: f.assign(seed=float("nan")), "'t0' has no seed"),
        (lambda f: f.assign(seed=1e19), "'seed' .*1e.19, whose last digits are lost; all seeds"),
        (
            lambda f: f.assign(seed=pd.Series(range(2**63, 2**63 + 10), dtype="uint64")),
            "'seed' .*whose last digits are lost",
        ),
        (lambda f: f.assign(seed=0), "seed 0 of configuration_id 'FP--None' .*once"),
        (lambda f: f.assign(regime=["a", "b"] * 5), "'FP--None' differ in .*an id of its own"),
        (
            lambda f: f.assign(configuration_id=f["trial_id"]),
            "'t1' has the same dataset.*`axis.NAME`",
        ),
        (lambda f: f.assign(**MIXED), "X binary: some trials have a rho0.*; fill in"),
        (
            lambda f: f.assign(**{"a": 1}).rename(columns={"a": 7}),
            "column name 7 .*; give the column a name",
        ),
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


def test_columns_without_any_number_need_no_type(tmp_path: Path) -> None:
    """Parquet files and tables of pandas have such columns as objects."""
    frame = trials(EXAMPLE[:4]).assign(rho0=None, validation_accuracy=None, bits=None)
    frame.to_parquet(tmp_path / "trials.parquet")
    for given in (frame, read_trials(tmp_path / "trials.parquet")):
        checked = validate_trials(given)
        for column in ("rho0", "validation_accuracy", "bits"):
            assert checked[column].dtype == float
            assert checked[column].isna().all()


def test_history_is_checked() -> None:
    text = (
        "trial_id,stage,epoch,step,learning_rate,sharpness,train_loss,validation_accuracy_latent,"
        "validation_accuracy_proximal,validation_accuracy_hard,quantization_gap,seconds\n"
        "a,quantize,1,7,0.1,0,2.3,0.1,0.1,0.1,0,1\n"
    )
    frame = pd.read_csv(io.StringIO(text))
    assert validate_history(frame).equals(frame)
    with pytest.raises(SchemaError, match=r"epoch 1 of trial 'a' .*once"):
        validate_history(pd.concat([frame, frame]))
    with pytest.raises(SchemaError, match="column 'stage' is missing"):
        validate_history(frame.drop(columns="stage"))


def test_everything_else_may_be_missing_and_is_checked_if_not() -> None:
    measurements = Measurements(trials(EXAMPLE))
    assert len(measurements.history) == len(measurements.maps) == 0
    with pytest.raises(SchemaError, match="maps: column 'figure' is missing"):
        Measurements(trials(EXAMPLE), maps=pd.DataFrame({"latent": [0.0]}))
