"""The data and the library of the interactive part of a report's page."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.columns import HISTORY
from analysis.findings import analyse
from analysis.interactive.dimensions import dimensions
from analysis.interactive.explorer import Explorer, explorer
from analysis.interactive.library import chart_library
from analysis.interactive.study import study_explorer
from analysis.metric import Metric
from analysis.schema import Measurements
from tests.analysis.frames import EXAMPLE, trials
from tests.analysis.studies import made_study


def explored(measurements: Measurements) -> Explorer | None:
    return explorer(measurements, analyse(measurements).selected)


def test_dimensions_are_what_trials_differ_in_with_the_results() -> None:
    frame = trials(EXAMPLE, **{"axis.lr": "0.1", "axis.map": "relu"})
    frame.loc[frame["method"] == "FP", "axis.lr"] = "2"
    frame.loc[frame["method"] == "BC", "axis.map"] = ""
    found = {each.key: each for each in dimensions(Measurements(frame))}
    names = ["set", "method", "rho0", "axis.lr", "axis.map", "seed", "state"]
    assert list(found) == [*names, "test_accuracy", "validation_accuracy"]
    assert found["set"].names == ("binary",)
    assert found["set"].values[:3] == (None, None, 0)  # full precision has no set
    assert found["rho0"].values[:5] == (None, None, None, None, 0.01)
    assert (found["rho0"].is_log, found["seed"].is_log) == (True, False)
    assert found["axis.lr"].values[1:3] == (2, 0.1)
    assert found["axis.lr"].is_log
    assert found["axis.map"].names == ("relu",)
    test = found["test_accuracy"]
    assert (test.values[0], test.unit, test.digits) == (98, "%", 2)
    other = frame.assign(dataset="Other")
    other[["trial_id", "configuration_id"]] += "o"
    both = Measurements(pd.concat([frame, other], ignore_index=True))
    assert next(dimensions(both)).key == "dataset"


def test_whole_numbers_are_exact() -> None:
    """Seeds such as dates differ in their last digits only."""
    frame = trials(EXAMPLE, **{"axis.batch": "1048576"})
    frame["seed"] += 20240101
    frame.loc[frame["method"] == "FP", "axis.batch"] = "0.12345678"
    found = {each.key: each for each in dimensions(Measurements(frame))}
    assert found["seed"].values[:2] == (20240101, 20240102)
    assert found["axis.batch"].values[1:3] == (0.123457, 1048576)


def test_a_knob_has_its_scale() -> None:
    for scale, is_log, is_named in (
        ("log", True, False),
        ("linear", False, False),
        ("nominal", False, True),
    ):
        frame = trials(EXAMPLE, **{"axis.lr": "0.1", "knob.lr": f"{scale}"})
        frame.loc[frame["method"] == "FP", "axis.lr"] = "0.2"
        (knob,) = (each for each in dimensions(Measurements(frame)) if each.key == "axis.lr")
        assert (knob.is_log, knob.names is not None) == (is_log, is_named), scale


def test_another_metric_is_shown_as_it_is_printed() -> None:
    frame = trials(EXAMPLE).rename(
        columns={f"{split}_accuracy": f"{split}_loss" for split in ("validation", "test")}
    )
    metric = Metric("loss", "loss", higher_is_better=False)
    made = explored(Measurements(frame, metric=metric))
    assert made is not None
    document = json.loads(made.data)
    assert document["metric"] == {"key": "test_loss", "higherIsBetter": False}
    (test,) = (each for each in document["dimensions"] if each["key"] == "test_loss")
    assert test["values"][0] == pytest.approx(frame["test_loss"][0])
    assert test["unit"] == ""


def test_curves_are_those_of_each_method_at_its_chosen_rho0() -> None:
    frame = trials(EXAMPLE)
    epochs = pd.DataFrame({"epoch": [1, 2, 3], "stage": ["quantize", "quantize", "batchnorm"]})
    history = frame[["trial_id", "test_accuracy"]].merge(epochs, how="cross")
    history["validation_accuracy_hard"] = history["test_accuracy"] * history["epoch"] / 3
    measurements = Measurements(frame, history=history.reindex(columns=list(HISTORY)))
    made = explored(measurements)
    assert made is not None
    assert made.has_curves
    document = json.loads(made.data)
    lines = {
        document["configurations"][line["configuration"]]: line
        for line in document["curves"]["lines"]
    }
    assert list(lines) == ["FP  None", "BC binary None", "PC binary 0.01", "PQ binary 1e-06"]
    line = lines["PC binary 0.01"]
    assert (line["epoch"], line["end"], line["n"]) == ([1, 2, 3], 2, 2)
    for name, last in (("low", 93), ("mean", 94), ("high", 95)):
        assert line[name] == pytest.approx([last / 3, 2 * last / 3, last], abs=1e-3)
    assert lines["PQ binary 1e-06"]["n"] == 1  # the other one has diverged
    without = explored(Measurements(frame))
    assert without is not None
    assert not without.has_curves


def test_a_study_shows_its_parameters_and_objectives() -> None:
    made = study_explorer(made_study())
    assert made is not None
    document = json.loads(made.data)
    roles = {each["label"]: each["role"] for each in document["dimensions"]}
    assert roles == {
        "kind": "method",
        "state": "state",
        "rho0": "knob",
        "rule": "knob",
        "validation accuracy": "result",
        "training time (s)": "result",
    }
    kinds, _, _, rules, *_ = document["dimensions"]
    assert [kinds["names"][place] for place in kinds["values"]] == [
        *("known point", "best", "other", "other", "other")
    ]
    assert rules["values"] == [0, 1, None, 2, 0]
    assert document["configurations"][:2] == ["configuration 0 (PC)", "configuration 1"]
    empty = made_study()
    assert study_explorer(replace(empty, configurations=empty.configurations[3:])) is None


def test_names_cannot_leave_the_data_of_the_page() -> None:
    frame = trials([("</script><b>", "<!--<script>", 0.1, 0, 0.9)])
    made = explored(Measurements(frame))
    assert made is not None
    assert "<" not in made.data
    assert json.loads(made.data)["styles"][0]["name"] == "</script><b>"


def test_without_results_there_is_nothing_to_explore() -> None:
    frame = trials(EXAMPLE, state="WAITING", validation_accuracy=None, test_accuracy=None)
    columns = ["validation_accuracy", "test_accuracy"]
    frame[columns] = frame[columns].astype(float)
    assert explored(Measurements(frame)) is None


def test_a_damaged_library_in_the_cache_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chart_library()
    assert 500_000 < len(whole) < 1_000_000
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "quantlab" / "charts"
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "made </script> again")
    chart_library.cache_clear()
    try:
        assert chart_library() == r"made <\/script> again"
        (file,) = folder.iterdir()
        file.write_text(file.read_text()[:-3])
        chart_library.cache_clear()
        monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "made once more")
        assert chart_library() == "made once more"
        chart_library.cache_clear()
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert chart_library() == "made once more"  # from the cache
    finally:
        chart_library.cache_clear()
