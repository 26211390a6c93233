"""The `sweeps` command from end to end, on a user's own file."""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Command, Ran
from tests.sweeps.sweep_files import TINY, changed

pytestmark = pytest.mark.slow


def test_the_sweep_ran_with_the_users_own_quantizer(tiny: Ran) -> None:
    lines = tiny.output.splitlines()
    assert lines[0] == "tiny: 6 trials, 6 to run"
    assert lines[-1] == "tiny: 6 COMPLETE"
    assert any(re.match(r"6/6 finished · .* trials/h", line) for line in lines)
    recipes = [file.read_text() for file in tiny.folder.glob("runs/trials/*/recipe.json")]
    assert sum('"type":"Tanh@' in recipe for recipe in recipes) == 4


def test_plan_counts_what_is_finished(tiny: Ran, quick_command: Command) -> None:
    done = quick_command(tiny.folder, "plan", "tiny.py", "--json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    counts = {"trials": 6, "finished": 6, "to_run": 0, "waiting": 0}
    assert {key: plan[key] for key in counts} == counts
    assert [(block["label"], block["finished"]) for block in plan["blocks"]] == [
        ("FP", 2),
        ("MD", 4),
    ]
    assert [cost["source"] for cost in plan["costs"]] == [
        f"{count} finished on cpu ({platform.machine()})" for count in (2, 4)
    ]
    assert all(cost["hours"] > 0 == cost["hours_to_run"] for cost in plan["costs"])
    folders = {folder.name for folder in tiny.folder.glob("runs/trials/*")}
    assert {trial["fingerprint"] for trial in plan["trial_list"]} == folders
    last = plan["trial_list"][-1]
    assert last["name"] == f"MD rho0={last['axes']['rho0']} seed={last['seed']}"
    assert (last["block"], last["state"], last["starts_from"]) == ("MD", "COMPLETE", None)
    elsewhere = ("--storage", "elsewhere", "--time", "--concurrency", "1")
    fresh = json.loads(quick_command(tiny.folder, "plan", "tiny.py", "--json", *elsewhere).stdout)
    assert fresh["finished"] == 0
    assert {cost["source"].split(" (")[0] for cost in fresh["costs"]} == {"measured on cpu"}
    assert (fresh["time"]["slots"], fresh["time"]["seconds"]) == (
        1,
        pytest.approx(3600 * sum(cost["hours"] for cost in fresh["costs"])),
    )
    assert not (tiny.folder / "elsewhere").exists()
    text = quick_command(tiny.folder, "plan", "tiny.py").stdout
    assert re.search(r"all +6 +6 +0 +0\n", text)


def test_the_same_command_again_trains_nothing(tiny: Ran, quick_command: Command) -> None:
    files = {
        path: path.stat().st_mtime_ns
        for path in tiny.folder.glob("runs/trials/**/*")
        if path.is_file()
    }
    done = quick_command(tiny.folder, "run", "tiny.py")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "tiny: 6 trials, 0 to run")
    after = {path: path.stat().st_mtime_ns for path in files}
    assert after == files


def test_status_and_report(tiny: Ran, reported: Ran, quick_command: Command) -> None:
    status = quick_command(tiny.folder, "status", "tiny.py")
    assert status.returncode == 0
    first, spent, _, head, _, *rows = status.stdout.splitlines()
    assert first == "tiny: 6 COMPLETE"
    assert re.fullmatch(r"spent: [\d.]+ m?s of slots on 6 trials", spent)
    assert head.split() == ["block", "trials", "slots", "retries", "lost"]
    assert [row.split()[:2] for row in rows] == [["FP", "2"], ["MD", "4"]]
    out = reported.folder / "runs" / "reports" / "tiny"
    shown = " ".join(reported.output.split())
    assert "Test accuracy (%) over ρ0: MD, end-to-end, Digits" in shown
    assert re.search(r"MD (sensitive|stable|mild|noise|untested|fails) ", shown)
    assert "runs/reports/tiny/report.html" in reported.output
    assert "ui tiny, run 'sweep tiny'" in shown
    frame = pd.read_csv(out / "tables" / "trials.csv")
    assert len(frame) == 6
    assert set(frame["set"].dropna()) == {"binary"}
    assert sorted(frame["rho0"].dropna().unique()) == [0.5, 1.0]
    assert set(frame["bits"]) == {1.0, 32.0}
    assert set(frame["command"]) == {"sweeps run tiny.py --concurrency 1"}
    page = (out / "report.html").read_text()
    for section in ("Course of training", "The proximal maps", "Sources of variance"):
        assert section in page
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    accuracies, training = {"sensitivity", "heat_map", "pareto"}, {"learning_curves", "loss", "gap"}
    assert names == accuracies | training | {"distance", "flips", "weights", "examples", "maps"}


def test_a_storage_that_does_not_exist_is_told(tmp_path: Path, quick_command: Command) -> None:
    for command in ("status", "plan"):
        done = quick_command(tmp_path, command, "digits", "--storage", "a/../nope", "--json")
        says = f"sweeps: --storage {tmp_path / 'nope'}: the folder does not exist yet, so it has no"
        assert done.stderr.startswith(says)
        assert json.loads(done.stdout)["name"] == "digits"
    (tmp_path / "nope").mkdir()
    assert not quick_command(tmp_path, "status", "digits", "--storage", "nope").stderr


def test_a_report_is_printed_if_mlflow_does_not_answer(
    tiny_copy: Path, quick_command: Command
) -> None:
    (tiny_copy / "runs" / "mlflow.db").write_text("not a database")
    done = quick_command(tiny_copy, "report", "tiny.py", "--format", "csv", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["mlflow"] is None
    assert Path(found["files"][0]).is_file()
    (line,) = done.stderr.splitlines()
    assert line.startswith("sweeps: warning: --storage ")
    assert line.endswith("; run the same command again to log the report")


def test_a_table_from_elsewhere_is_reported_on(
    reported: Ran, quick_command: Command, tmp_path: Path
) -> None:
    """The trials that one report wrote are the input of another."""
    tables = reported.folder / "runs" / "reports" / "tiny" / "tables"
    for ending in ("csv", "parquet"):
        shutil.copy(tables / f"trials.{ending}", tmp_path / f"mine.{ending}")
        options = ("--out", str(tmp_path / ending), "--format", "csv")
        done = quick_command(tmp_path, "report", f"mine.{ending}", *options)
        assert done.returncode == 0, done.stderr
        assert str(tmp_path / ending) in done.stdout
        again = pd.read_csv(tmp_path / ending / "tables" / "configurations.csv")
        pd.testing.assert_frame_equal(again, pd.read_csv(tables / "configurations.csv"))
    frame = pd.read_csv(tmp_path / "mine.csv").drop(columns="rho0")
    frame.to_csv(tmp_path / "mine.csv")
    failed = quick_command(tmp_path, "report", "mine.csv", "--out", "new")
    assert failed.returncode == 2
    assert "mine.csv: trials: column 'rho0' is missing" in failed.stderr
    assert not (tmp_path / "new").exists()


LEVELS = "levels: tuple[float, ...] = (-1.0, 1.0)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed(TINY, '"quantization.sharpness.rho0"', '"quantization.sharpnes.rho0"'),
            "'sharpnes'",
        ),
        (
            changed(TINY, "(0.5, 1.0)", "(0.5, -1.0)"),
            "Linear.rho0 = -1.0: must be a finite number >= 0",
        ),
        (changed(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0, -1.0)")), "1 precedes -1"),
        (changed(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0, 1.0)")), "1 is duplicated"),
        (changed(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0,)")), "at least two levels"),
        (
            changed(
                changed(TINY, "Digits(train_images", 'ImageFolder(folder="no", train_images'),
                "datasets.digits import Digits",
                "datasets.image_folder import ImageFolder",
            ),
            "no/train",
        ),
        (
            changed(
                changed(TINY, "epochs=2,", 'epochs=2, initial_weights=TrialWeights("0" * 16),'),
                "from quantlab.models",
                "from quantlab.initial_weights import TrialWeights\nfrom quantlab.models",
            ),
            "that trial has no final weights yet",
        ),
    ],
    ids=["typo", "negative", "unsorted", "duplicated", "one-level", "no-data", "no-weights"],
)
def test_bad_input_is_one_line_and_trains_nothing(
    text: str, message: str, quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(text)
    done = quick_command(tmp_path, "run", "tiny.py")
    assert_one_line(done, message, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "digitz"), "sweep 'digitz' is unknown (did you mean 'digits'?); give "),
        (("run", "tiny.py", "--storage", "tiny.py/runs"), "must be a folder, but tiny.py is"),
        (("plan", "tiny.py", "--storage", "/dev/null"), "/dev/null: must be a folder, but it"),
        (("status", "tiny.py", "--storage", "tiny.py"), "tiny.py: must be a folder, but it is a"),
        (("run", "tiny.py", "--data", "tiny.py"), "--data tiny.py: must be a folder, but it"),
        (("run", "tiny.py", "--scratch", "tiny.py"), "--scratch tiny.py: must be a folder, but"),
        (("report", "tiny.py", "--out", "tiny.py/x"), "--out tiny.py/x: must be a folder, but t"),
        (("report", "tiny.py", "--storage", "new"), " WAITING); train the sweep first"),
        (("report", "tiny.py", "--format", "csv,pdf"), "'pdf' is not a format; choose from html, "),
        (
            ("report", "tiny.py", "--compare", "me"),
            "--compare me: is unknown; must be one of proxconnect, ",
        ),
        (
            ("run", "tiny.py", "--concurency", "2"),
            "(did you mean '--concurrency'?); see sweeps run",
        ),
        (("run", "tiny.py", "--concurrency", "1e3"), "'1e3': must be an integer from 1 to"),
        (("run", "tiny.py", "--cpus-per-trial", "nan"), "'nan': must be a number from 0 to"),
        (("run", "tiny.py", "--gpus-per-trial", "1.5"), "--gpus-per-trial 1.5: must be an integer"),
        (("run", "tiny.py", "--gpus-per-trial", "all"), "a number from 0 to 1000000, or auto"),
        (("run", "tiny.py", "--address", ""), "--address: '': must not be empty"),
        (("run", "tiny.py", "--storage", "x" * 300), "names of at most 255 bytes"),
        (("run", "tiny.py", "--pack", "all"), "must be an integer from 1 to 1000000, or auto"),
        (("ui", "--port", "70000"), "'70000': must be an integer from 1 to 65535"),
        (("report", "no.csv"), "no.csv: the file cannot be read (No such file"),
        (("ui", "--storage", "new"), "has no MLflow database yet; run `sweeps"),
        (("run", "no.py", "--execution", "fp16"), "option 'fp16': must be"),
        (
            ("run", "tiny.py", "--pack", "2", "--execution", "compile,workers=1"),
            "--execution workers=1: every trial of a pack would start",
        ),
        (("run", "tiny.py", "--storage", "new", "--address", "ray://x:1"), "is not supported"),
        (("run", "tiny.py", "--storage", "new", "--address", "127.0.0.1:9"), "no Ray cluster"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...], message: str, quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    assert_one_line(quick_command(tmp_path, *arguments), message, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tracking-uri", "http://127.0.0.1:9", "--tracking-uri http://127.0.0.1:9: cannot be"),
        (
            "--gpus-per-trial",
            "9",
            "--gpus-per-trial 9: this machine has 0 GPUs; must not be more",
        ),
    ],
)
def test_a_service_that_is_not_there_is_one_line(
    option: str,
    value: str,
    message: str,
    quick_command: Command,
    storage_with_store: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    storage_with_store(tmp_path / "runs")
    (tmp_path / "tiny.py").write_text(TINY)
    assert_one_line(quick_command(tmp_path, "run", "tiny.py", option, value), message, tmp_path)


def assert_one_line(done: subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    """On the standard error; no trial was begun."""
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("sweeps: error: ")
    assert message in line
    assert not list(folder.glob("*/trials/*"))
