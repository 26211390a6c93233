"""`--until-decided` in the commands, on a sweep of a user's file that has been trained."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.cli.commands.run import _Run
from sweeps.control import gate
from sweeps.control.commands import live_commands
from sweeps.control.listener import CANCELLED
from sweeps.control.notices import Notices
from sweeps.control.requests import CANCEL, Requests
from sweeps.deciding.record import recorded
from sweeps.spec import Cell
from sweeps.storage import Storage
from sweeps.storage.records import Origin
from tests.conftest import Command
from tests.sweeps.deciding.test_round import SWEEP, contrary
from tests.sweeps.deciding.test_round import finish as finish_cells
from tests.sweeps.trial_files import ended

BUDGET = ("--until-decided", "--margin", "1", "--budget")


def finish(storage: Storage, trials: dict[str, str]) -> None:
    """Write made-up results of trials of MD: much noise, and a small effect of rho0.

    Args:
        storage: the storage.
        trials: fingerprint -> name.
    """
    for fingerprint, name in trials.items():
        folder = storage.trial(fingerprint)
        folder.make()
        value = 0.8 + 0.1 * (int(name[-1]) % 2) + 0.01 * ("rho0=1" in name)
        folder.result.write(ended(epochs=3, test_accuracy=value, validation_accuracy=value))


def added(storage: Storage) -> dict[str, str]:
    known = recorded("tiny", storage)
    return {} if known is None else {one.fingerprint: one.name for one in known.added}


def test_rounds_are_trained_shown_and_removed(tiny_copy: Path, quick_command: Command) -> None:
    """The budget ends each round before it is trained."""
    storage = Storage(tiny_copy / "runs")
    plan = json.loads(quick_command(tiny_copy, "plan", "tiny.py", "--json").stdout)
    trials = {one["fingerprint"]: one["name"] for one in plan["trial_list"]}
    finish(storage, {one: name for one, name in trials.items() if name.startswith("MD")})

    done = quick_command(tiny_copy, "run", "tiny.py", *BUDGET, "6trials")
    assert done.returncode == 4, done.stderr
    assert (
        "tiny: 0 of 1 questions are decided; the next round has 2 trials: ρ0 of MD on binary"
        in done.stdout
    )
    assert "tiny: 8 trials, 0 to run" in done.stdout
    assert "the budget of 6 trials is spent, and 2 trials are left" in done.stderr
    listed = json.loads(quick_command(tiny_copy, "list", "--json").stdout)
    assert next(one for one in listed["sweeps"] if one["name"] == "tiny")["trials"] == 8

    finish(storage, added(storage))
    done = quick_command(tiny_copy, "run", "tiny.py", *BUDGET, "8trials", "--most-seeds", "3")
    assert "tiny: 8 trials, 0 to run" in done.stdout
    assert "open after up to 3 seeds: ρ0 of MD on binary" in done.stdout
    assert done.returncode == 0, done.stderr
    plan_again = quick_command(tiny_copy, "plan", "tiny.py", "--until-decided", "--margin", "1")
    assert "--until-decided: 0 of 1 questions are decided; about " in plan_again.stdout

    report = quick_command(tiny_copy, "report", "tiny.py", "--format", "markdown", "--json")
    tables = json.loads(report.stdout)["tables"]
    assert [row["seeds"] for row in tables["added"]] == ["2", "2"]
    assert [(row["seeds"], row["added"]) for row in tables["decisions"]] == [(3, 2)]
    page = (tiny_copy / "runs/reports/tiny/report.md").read_text()
    assert "The margin is 1 points of" in page  # that of the run

    removed = json.loads(quick_command(tiny_copy, "rm", "tiny.py", "--yes", "--json").stdout)
    assert len(removed["trials"]) == 8
    assert added(storage) == {}


def test_a_command_is_cancelled_between_two_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, requests = Storage(tmp_path), Requests(Storage(tmp_path), "made")
    finish_cells(SWEEP.cells, storage, contrary)
    rounds = []

    def trained(sweep: object, cells: Sequence[Cell], *_: object, **__: object) -> None:
        finish_cells(cells, storage, contrary)
        rounds.append(len(cells))
        assert len(live_commands(requests)) == 1
        requests.add(CANCEL, None)

    monkeypatch.setattr(gate, "LOOK_SECONDS", 0)
    monkeypatch.setattr("sweeps.running.grid.run_cells", trained)
    monkeypatch.setattr("sweeps.planning.data_changes.data_warnings", lambda *_: [])
    options = Namespace(
        until_decided=True,
        margin=0.5,
        most_seeds=20,
        budget=None,
        first=[],
        data=tmp_path,
        sweep="made",
        set=[],
    )
    training = {"archive": None, "origin": Origin(command="sweeps run made")}
    run = _Run(options, training, SWEEP, storage)
    run.notices = Notices("made", on_end=None, on_failure=None, facts=dict)
    with run.listening():
        ending = run.train_until_decided(None)
    assert ending is not None
    assert ending.state == CANCELLED
    assert len(rounds) == 1
    assert not requests.standing()


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
