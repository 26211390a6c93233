"""`--until-decided` in the commands, on a sweep of a user's file that has been trained."""

import json
from pathlib import Path

import pytest

from sweeps.deciding.record import recorded
from sweeps.storage import Storage
from tests.conftest import Command
from tests.sweeps.trial_files import ended

BUDGET = ("--until-decided", "--margin", "1", "--budget")


def finish(folder: Path, quick_command: Command) -> None:
    """Write made-up results of all trials of MD: much noise, and a small effect of rho0."""
    plan = json.loads(quick_command(folder, "plan", "tiny.py", "--json").stdout)
    for trial in plan["trial_list"]:
        if trial["method"] == "MD":
            own = Storage(folder / "runs").trial(trial["fingerprint"])
            own.make()
            value = 0.8 + 0.1 * (trial["seed"] % 2) + 0.01 * (trial["axes"]["rho0"] == "1")
            own.result.write(ended(epochs=3, test_accuracy=value, validation_accuracy=value))


def test_rounds_are_trained_shown_and_removed(tiny_copy: Path, quick_command: Command) -> None:
    """The budget ends each round before it is trained."""
    finish(tiny_copy, quick_command)
    plan = quick_command(tiny_copy, "plan", "tiny.py", "--until-decided", "--margin", "1")
    assert "--until-decided: 0 of 1 questions are decided; about " in plan.stdout

    done = quick_command(tiny_copy, "run", "tiny.py", *BUDGET, "6trials")
    assert done.returncode == 4, done.stderr
    assert (
        "tiny: 0 of 1 questions are decided; the next round has 2 trials: ρ0 of MD on binary"
        in done.stdout
    )
    assert "tiny: 8 trials, 0 to run" in done.stdout
    assert "the budget of 6 trials is spent, and 2 trials are left" in done.stderr
    status = quick_command(tiny_copy, "status", "tiny.py")
    assert status.stdout.splitlines()[0] == "tiny: 2 WAITING, 6 COMPLETE"
    listed = json.loads(quick_command(tiny_copy, "list", "--json").stdout)
    assert next(one for one in listed["sweeps"] if one["name"] == "tiny")["trials"] == 8

    finish(tiny_copy, quick_command)
    done = quick_command(tiny_copy, "run", "tiny.py", *BUDGET, "8trials")
    assert "tiny: 8 trials, 0 to run" in done.stdout
    assert "0 of 1 questions are decided; the next round has 4 trials: " in done.stdout
    finish(tiny_copy, quick_command)
    for _ in range(2):  # the second finds that all is done
        done = quick_command(tiny_copy, "run", "tiny.py", *BUDGET, "12trials", "--most-seeds", "5")
        assert "open after up to 5 seeds: ρ0 of MD on binary" in done.stdout
        assert done.returncode == 0, done.stderr

    report = quick_command(tiny_copy, "report", "tiny.py", "--format", "csv,markdown", "--json")
    tables = json.loads(report.stdout)["tables"]
    assert [row["seeds"] for row in tables["added"]] == ["2-4", "2-4"]
    assert [(row["seeds"], row["added"]) for row in tables["decisions"]] == [(5, 6)]
    page = (tiny_copy / "runs/reports/tiny/report.md").read_text()
    assert "The margin is 1 points of" in page  # that of the run
    exact = quick_command(tiny_copy, "status", "tiny.py", "--seeds", "0-1")
    assert exact.stdout.splitlines()[0] == "tiny: 6 COMPLETE"

    removed = json.loads(quick_command(tiny_copy, "rm", "tiny.py", "--yes", "--json").stdout)
    assert len(removed["trials"]) == 12
    assert recorded("tiny", Storage(tiny_copy / "runs")) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--margin", "2"), "--margin 2: applies with --until-decided only"),
        (("plan", "--most-seeds", "5"), "--most-seeds 5: applies with --until-decided only"),
        (("run", "--until-decided", "--seeds", "0-4"), "--seeds 0-4: must not be given with"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, quick_command: Command
) -> None:
    command, *options = arguments
    done = quick_command(tmp_path, command, "digits", *options)
    assert done.returncode == 2
    assert message in done.stderr
