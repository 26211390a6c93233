"""Knobs: what a table of trials says of them, and which texts are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.knobs.columns import column_of, knobs_of, values_of
from analysis.knobs.knob import RHO0, Knob, knob_of
from analysis.reading import read_trials
from analysis.schema import Measurements, SchemaError
from tests.analysis.frames import EXAMPLE, trials


def table(
    knob: str = "", values: tuple[str, str] = ("0.1", "10"), name: str = "lr"
) -> pd.DataFrame:
    """The example, of which the method PC has an axis that takes turns, and is a knob."""
    frame = trials(EXAMPLE)
    is_pc = frame["method"] == "PC"
    labels = np.where(frame["rho0"] == 0.1, values[1], values[0])
    frame = frame.assign(**{f"axis.{name}": np.where(is_pc, labels, "")})
    return frame.assign(**{f"knob.{name}": np.where(is_pc, knob, "")})


@pytest.mark.parametrize(
    "knob",
    [Knob("log"), Knob("linear", -1, 2.5), Knob("log", 1e-7, 1.0), Knob("nominal")],
    ids=lambda knob: knob.text,
)
def test_a_knob_is_read_as_it_is_written(knob: Knob) -> None:
    assert knob_of("lr", knob.text) == Knob(knob.scale, knob.low, knob.high, "lr")


def test_every_method_with_a_rho0_has_it_as_a_knob() -> None:
    frame = Measurements(trials(EXAMPLE)).trials
    of = {method: knobs_of(part) for method, part in frame.groupby("method")}
    assert of == {"FP": (), "BC": (), "PC": (RHO0,), "PQ": (RHO0,)}


def test_the_knobs_of_a_table_survive_a_file(tmp_path: Path) -> None:
    table("log from 0.01 to 100").to_csv(tmp_path / "trials.csv", index=False)
    frame = Measurements(read_trials(tmp_path / "trials.csv")).trials
    _, lr = knobs_of(frame)
    assert lr == Knob("log", 0.01, 100, "lr")
    assert column_of(lr) == "axis.lr"
    of_pc = frame["method"] == "PC"
    assert values_of(frame, lr)[of_pc].tolist() == [0.1, 0.1, 10, 10]
    assert np.isnan(values_of(frame, lr)[~of_pc]).all()
    assert knobs_of(frame[~of_pc]) == (RHO0,)


def test_tables_that_are_joined_have_the_widest_range() -> None:
    frame = table("log from 0.01 to 1")
    frame.loc[frame["rho0"] == 0.1, "knob.lr"] = "log from 0.1 to 10"
    assert knobs_of(Measurements(frame).trials)[1] == Knob("log", 0.01, 10, "lr")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table("often"), r"'knob.lr' has the value 'often'; it must be empty, 'nominal'"),
        (table("log from 1 to 0.1"), "'log from 1 to 0.1'; it must be empty"),
        (table("log from 0 to 1"), "'log from 0 to 1'; it must be empty"),
        (table("log", ("0.1", "high")), "'axis.lr' has the value 'high', which is no number"),
        (table("log", ("0.1", "-1")), "the value '-1', which must be >= 0 on a logarithmic"),
        (table("log").drop(columns="axis.lr"), "there is no column 'axis.lr'; add it"),
        (table("linear", name="rho0"), "has the scale linear; that of rho0 must be 'log'"),
        (
            table().assign(**{"knob.lr": ["log", "linear"] * 5}),
            "has the scales linear and log; use one of them",
        ),
    ],
    ids=["text", "order", "zero", "label", "sign", "column", "rho0", "scales"],
)
def test_what_is_not_understood_is_named_in_one_line(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as error:
        Measurements(frame)
    assert "\n" not in str(error.value)
