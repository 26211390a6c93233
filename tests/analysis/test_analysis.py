"""Trials -> configurations -> tables, figures, files; the numbers against pandas and by hand."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.aggregate import best_rho0, configurations
from analysis.figures import sensitivity_figure
from analysis.report import recompute, write_report
from analysis.schema import HISTORY, SchemaError, validate_history, validate_trials
from analysis.tables import method_tables, sensitivity_tables
from tests.analysis.frames import EXAMPLE, trials

NO_HISTORY = pd.DataFrame({column: [] for column in HISTORY})


def test_means_and_standard_deviations_by_hand() -> None:
    table = configurations(trials(EXAMPLE)).set_index("configuration_id")
    row = table.loc["PC-binary-0.01"]
    assert row["test_mean"] == pytest.approx(0.94)
    assert row["test_std"] == pytest.approx(0.02 / 2**0.5)  # ddof = 1
    assert row["validation_mean"] == pytest.approx(0.93)
    assert list(table.index) == list(dict.fromkeys(trials(EXAMPLE)["configuration_id"]))


def test_a_configuration_says_what_is_missing() -> None:
    table = configurations(trials(EXAMPLE)).set_index("configuration_id")
    row = table.loc["PQ-binary-1e-06"]
    assert (row["seeds"], row["n"], row["diverged"], row["failed"]) == (2, 1, 1, 0)
    assert row["test_mean"] == pytest.approx(0.70)
    assert pd.isna(row["test_std"])
    waiting = trials(EXAMPLE[:2], state="WAITING", validation_accuracy=None, test_accuracy=None)
    row = configurations(waiting).iloc[0]
    assert (row["n"], row["unfinished"]) == (0, 2)
    assert pd.isna(row["test_mean"])


def test_an_accuracy_of_an_unfinished_trial_is_not_counted() -> None:
    frame = trials(EXAMPLE[2:4])
    frame.loc[1, "state"] = "RUNNING"
    row = configurations(frame).iloc[0]
    assert (row["n"], row["unfinished"]) == (1, 1)
    assert row["test_mean"] == pytest.approx(0.90)


def test_rho0_is_chosen_by_validation_and_not_by_test() -> None:
    frame = trials(EXAMPLE)
    worse_on_validation = (frame["rho0"] == 0.01) & (frame["method"] == "PC")
    frame.loc[worse_on_validation, "validation_accuracy"] = 0.5
    best = best_rho0(configurations(frame)).set_index("method")
    assert best.loc["PC", "rho0"] == 0.1
    assert best.loc["PC", "test_mean"] == pytest.approx(0.805)
    assert set(best.index) == {"FP", "BC", "PC", "PQ"}


def test_further_axes_stay_apart() -> None:
    first = trials(EXAMPLE[2:8], **{"axis.lr": "0.1"})
    second = trials(EXAMPLE[2:8], **{"axis.lr": "0.2"})
    second["trial_id"] = second["trial_id"] + "b"
    second["configuration_id"] = second["configuration_id"] + "b"
    table = configurations(pd.concat([first, second], ignore_index=True))
    assert len(best_rho0(table)) == 4
    (methods,) = method_tables(table)
    assert list(methods.body.columns) == ["model", "set", "lr", "BC", "PC"]
    assert len(methods.body) == 2
    assert '"axis.lr"' in recompute(first)
    (axes,) = sensitivity_figure(table).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"BC lr=0.1", "BC lr=0.2", "PC lr=0.1", "PC lr=0.2"}
    assert lines["PC lr=0.1"].get_color() == lines["PC lr=0.2"].get_color()
    assert list(lines["PC lr=0.2"].get_xdata()) == [0.01, 0.1]


def test_tables_have_the_papers_layout() -> None:
    table = configurations(trials(EXAMPLE))
    (methods,) = method_tables(table)
    assert list(methods.body.columns) == ["model", "set", "BC", "PC", "PQ"]
    assert methods.body.iloc[0].tolist() == [
        "ConvNet",
        "binary",
        "91.00 (1.41)",
        "**94.00 (1.41)** at 1e-2",
        "70.00 [n = 1; 1 diverged] at 1e-6",
    ]
    assert "full precision: ConvNet 97.00 (1.41)" in methods.caption
    pc, pq = sensitivity_tables(table)
    assert "PC, end-to-end, Digits" in pc.caption
    assert list(pc.body.columns) == ["model", "set", "1e-2", "0.1"]
    assert pc.body.iloc[0].tolist()[2:] == ["**94.00 (1.41)**", "80.50 (0.71)"]
    assert list(pq.body.columns) == ["model", "set", "1e-6"]
    assert "| ConvNet | binary |" in pc.markdown()


def test_the_figure_shows_what_the_table_says() -> None:
    figure = sensitivity_figure(configurations(trials(EXAMPLE)))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"FP", "BC", "PC", "PQ"}
    assert list(lines["PC"].get_xdata()) == [0.01, 0.1]
    assert list(lines["PC"].get_ydata()) == pytest.approx([94.0, 80.5])
    assert axes.get_xscale() == "log"
    assert axes.get_title() == "binary"
    assert len({line.get_color() for line in lines.values()}) == 4


def test_a_method_of_ones_own_gets_a_colour() -> None:
    rows: list[Any] = [("Mine", "binary", 0.1, 0, 0.9), ("Other", "binary", 0.1, 0, 0.8)]
    figure = sensitivity_figure(configurations(trials(rows)))
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2


def test_a_report_can_be_recomputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = write_report(
        trials(EXAMPLE), NO_HISTORY, tmp_path / "out", title="Made", facts={"code": "abc"}
    )
    names = {path.name for path in report.directory.iterdir()}
    assert names == {
        "trials.csv",
        "history.csv",
        "table.csv",
        "table.md",
        "report.html",
        "sensitivity.png",
        "sensitivity.svg",
    }
    lines = recompute(trials(EXAMPLE))
    assert lines in (report.directory / "table.md").read_text()
    monkeypatch.chdir(report.directory)
    load, compute = lines.split("\n")
    scope: dict[str, Any] = {"pd": pd}
    exec(load, scope)
    recomputed = eval(compute, scope).round(2).reset_index()
    pc = recomputed[(recomputed["method"] == "PC") & (recomputed["rho0"] == 0.01)].iloc[0]
    text = f"{pc['mean']:.2f} ({pc['std']:.2f})"
    assert text == "94.00 (1.41)"
    assert text in (report.directory / "table.md").read_text()
    assert text in report.page.read_text()
    written = pd.read_csv(report.directory / "table.csv")
    assert written["test_mean"].tolist() == pytest.approx(
        configurations(trials(EXAMPLE))["test_mean"].tolist()
    )


def test_the_written_trials_are_trials_again(tmp_path: Path) -> None:
    write_report(trials(EXAMPLE), NO_HISTORY, tmp_path, title="Made", facts={})
    again = configurations(pd.read_csv(tmp_path / "trials.csv"))
    pd.testing.assert_frame_equal(again, configurations(trials(EXAMPLE)))
    assert again.loc[0, "set"] == ""


def test_rho0_of_zero_is_in_the_figure() -> None:
    rows: list[Any] = [("PC", "binary", 0.0, 0, 0.8), ("PC", "binary", 0.1, 0, 0.9)]
    (axes,) = sensitivity_figure(configurations(trials(rows))).axes
    assert axes.get_xscale() == "symlog"
    assert list(axes.lines[0].get_xdata()) == [0.0, 0.1]


def test_a_half_finished_sweep_has_a_report(tmp_path: Path) -> None:
    frame = trials(EXAMPLE)
    open_ones = frame["method"] == "PC"
    frame.loc[open_ones, "state"] = "WAITING"
    frame.loc[open_ones, ["validation_accuracy", "test_accuracy"]] = None
    report = write_report(frame, NO_HISTORY, tmp_path, title="Half", facts={})
    text = (tmp_path / "table.md").read_text()
    assert "6 COMPLETE" not in text.splitlines()[0]
    assert "2 unfinished" in text
    assert "4 WAITING" in text
    assert report.page.exists()


def test_html_is_escaped(tmp_path: Path) -> None:
    rows: list[Any] = [("<script>alert(1)</script>", "binary", 0.1, 0, 0.9)]
    report = write_report(trials(rows), NO_HISTORY, tmp_path, title="<b>", facts={"a": "<i>"})
    assert "<script>" not in report.page.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="rho0"), "no column 'rho0'; the table needs sweep, trial_id"),
        (lambda f: f.assign(trial_id="same"), "trial_id 'same' stands there twice"),
        (lambda f: f.assign(state="DONE"), "state 'DONE' is not one of COMPLETE"),
        (lambda f: f.assign(test_accuracy=93.1), "'test_accuracy' must hold fractions"),
        (lambda f: f.assign(seed="one"), "column 'seed' is .* must hold numbers"),
        (lambda f: f.assign(test_accuracy=float("nan")), "COMPLETE trial has no test_accuracy"),
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
