"""Requests in a storage, and what commands and workers know of them."""

import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.control import gate
from sweeps.control.answers import wait_for_answers
from sweeps.control.commands import LiveCommand, live_commands
from sweeps.control.gate import Gate
from sweeps.control.listener import CANCELLED, Ending, listening
from sweeps.control.requests import CANCEL, PAUSE, Requests, pauses_data
from sweeps.inventory.known_sweeps import remember_sweep
from sweeps.spec import Block, SweepSpec
from sweeps.storage import Storage
from sweeps.storage.records import Origin
from tests.conftest import SWEEPS
from tests.machines.requirements import skip
from tests.quantlab.recipes import small_recipe

ORIGIN = Origin(command="sweeps run s", folder="/somewhere")


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0)
    return Requests(Storage(tmp_path), "s")


def test_a_pause_holds_all_trials_or_some_until_they_are_resumed(requests: Requests) -> None:
    own = Gate(requests)
    assert not own.holds_any(["a", "b"])
    requests.add(PAUSE, ["a"], "--only method=PC")
    assert own.look()
    assert own.holds_any(["a", "b"])
    assert not own.holds_any(["b"])
    assert own.all_paused is None
    whole = requests.add(PAUSE, None)
    own.look()
    assert own.holds_any(["b"])
    assert own.all_paused == whole
    requests.remove(requests.paused())
    assert own.look()
    assert not own.holds_any(["a", "b"])
    assert not own.look()  # nothing is new


def read_only(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command for which a folder is mounted read-only."""
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", str(folder), *command],
        cwd=folder.parent,
        capture_output=True,
        text=True,
    )


def test_a_storage_that_is_read_only_is_refused_in_a_line(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    Storage(root).require_writable()
    if (mounted := read_only(root, "true")).returncode != 0:
        skip(f"no file system can be mounted here ({mounted.stderr.strip()})")
    sweep = SweepSpec(name="s", base=small_recipe(), blocks=(Block("b"),), seeds=(0,))
    remember_sweep(sweep, "s.py", Storage(root))
    Requests(Storage(root), "s").add(PAUSE, None)
    done = read_only(root, SWEEPS, "cancel", "s")
    assert done.returncode == 0, "there is nothing to cancel, which needs no request"
    with listening(Storage(root), "s", ORIGIN):
        for command in ("pause", "cancel", "resume"):
            done = read_only(root, SWEEPS, command, "s")
            assert done.returncode == 2
            assert done.stderr.startswith(
                f"sweeps: error: --storage {root}: is mounted read-only ("
            )
            assert done.stderr.count("\n") == 1


def test_some_trials_of_a_pause_can_be_resumed(requests: Requests) -> None:
    requests.add(PAUSE, None)
    own = Gate(requests)
    assert requests.resume(["a", "b"], of=["a", "b", "c", "d"]) == 2
    own.look()
    assert {name for name in "abcd" if own.holds_any([name])} == {"c", "d"}
    (narrowed,) = requests.paused()
    assert (narrowed.what, narrowed.trials) == ("all trials but 2 that were resumed", 2)
    assert requests.resume(["a"], of=["a", "b", "c", "d"]) == 0
    assert requests.resume(["c", "d"], of=["a", "b", "c", "d"]) == 2
    assert requests.standing() == ()
    assert [path.name for path in requests.folder.glob("*.json")] == ["requests.json"]


def test_a_pause_of_all_holds_trials_that_are_added_after_some_were_resumed(
    requests: Requests,
) -> None:
    """Such as those that nobody had recorded, and further seeds."""
    whole = requests.add(PAUSE, None)
    own = Gate(requests)
    assert requests.resume(["a"], of=["a", "b"]) == 1
    assert requests.resume(["a"], of=["a", "b"]) == 0
    own.look()
    assert [name for name in "abc" if own.holds_any([name])] == ["b", "c"]
    sent = pickle.loads(pickle.dumps(own))  # as to a worker
    assert [name for name in "abc" if sent.holds_any([name])] == ["b", "c"]
    assert requests.resume(["c"], of=["a", "b"]) == 1
    own.look()
    assert [name for name in "abcd" if own.holds_any([name])] == ["b", "d"]
    (left,) = requests.paused_now(lambda name: name == "b")
    assert (left.what, left.trials) == ("all trials but 2 that were resumed", 0)
    assert pauses_data(requests, lambda name: False)[0]["trials"] == 1
    assert left.by == whole.by
    assert requests.resume(["b"], of=["a", "b"]) == 1
    assert requests.standing() == ()


def test_earlier_releases_take_what_is_left_of_a_pause_for_one_of_the_known_trials(
    requests: Requests,
) -> None:
    requests.add(PAUSE, None)
    requests.resume(["a"], of=["a", "b", "c"])
    (left,) = requests.standing()
    assert left.trials == 2
    assert json.loads((requests.folder / f"{left.id}.json").read_text())["fingerprints"] == [
        "b",
        "c",
    ]
    requests.remove([left])
    requests.add(PAUSE, ["a", "b"])  # whose records have nothing that is new
    assert requests.resume(["a"], of=["a", "b", "c"]) == 1
    (left,) = requests.standing()
    assert "resumed" not in (requests.folder / f"{left.id}.json").read_text()
    assert not Gate(requests).holds_any(["c"])


def test_a_pause_counts_no_trials_that_have_finished(requests: Requests) -> None:
    requests.add(PAUSE, ["a", "b"], "--only method=PC")
    requests.add(PAUSE, ["b"])
    shown = [one.what for one in requests.paused_now(lambda name: name == "b")]
    assert shown == ["1 trial (--only method=PC)"]
    assert len(requests.paused()) == 2


def test_a_cancellation_concerns_no_command_that_starts_later(requests: Requests) -> None:
    before = Gate(requests)
    requests.add(CANCEL, None)
    before.look()
    later = Gate(requests)
    assert before.holds_any(["a"])
    assert not later.holds_any(["a"])
    sent = pickle.loads(pickle.dumps(later))  # as to a worker
    requests.add(CANCEL, ["b"])
    sent.look()
    assert not sent.holds_any(["a"])
    assert sent.holds_any(["b"])


def test_a_group_that_shares_the_storage_shares_its_requests(
    tmp_path: Path, requests: Requests
) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o022)
    try:
        requests.add(PAUSE, ["a"])
    finally:
        os.umask(before)
    for path in (tmp_path / "control", requests.folder, *requests.folder.iterdir()):
        assert path.stat().st_mode & stat.S_IWGRP


def test_what_is_damaged_holds_nothing_and_is_told(
    requests: Requests, capsys: pytest.CaptureFixture[str]
) -> None:
    requests.add(PAUSE, None)
    (requests.folder / "requests.json").write_text("{")
    assert not Gate(requests).holds_any(["a"])
    assert "no request stands; repeat `sweeps pause`" in capsys.readouterr().err
    requests.add(PAUSE, None)
    assert Gate(requests).holds_any(["a"])


def test_what_cannot_be_read_now_stays_as_it_was(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.add(PAUSE, None)
    own = Gate(requests)

    def fail(self: Requests) -> tuple[()]:
        raise OSError("stale file handle")

    monkeypatch.setattr(Requests, "standing", fail)
    assert not own.look()
    assert own.holds_any(["a"])


def test_a_command_answers_as_long_as_it_runs(tmp_path: Path, requests: Requests) -> None:
    storage = Storage(tmp_path)
    with listening(storage, "s", ORIGIN) as listener:
        (command,) = live_commands(requests).values()
        assert command.command == "sweeps run s"
        told: list[LiveCommand] = []

        def answers(trials: list[str] | None) -> tuple[LiveCommand, ...]:
            return wait_for_answers(
                requests, request, trials, storage, seconds=0, tell=told.append
            ).silent

        request = requests.add(PAUSE, ["a"])
        assert answers(["a"]) == (command,)
        listener.look()
        assert answers(["a"]) == ()
        request = requests.add(CANCEL, None)
        listener.look()
        assert listener.ending == Ending(
            CANCELLED,
            f"all trials were cancelled by {request.by}; to continue, run the same command again",
        )
        assert len(answers(None)) == 1  # it has not ended yet
    assert live_commands(requests) == {}
    assert answers(None) == ()
    assert len(told) == 3
    with listening(storage, "s", ORIGIN) as listener:
        listener.look()
        assert listener.ending is None
        assert [one.kind for one in requests.standing()] == [PAUSE]  # the old one is forgotten


def test_a_command_that_was_killed_is_nobody_to_wait_for(requests: Requests) -> None:
    program = f"""
import time
from pathlib import Path
from sweeps.control.listener import listening
from sweeps.storage import Storage
from sweeps.storage.records import Origin
with listening(Storage(Path({str(requests.folder.parents[1])!r})), "s", Origin(command="c")):
    print(flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert [one.command for one in live_commands(requests).values()] == ["c"]
    process.kill()
    process.communicate()
    assert live_commands(requests) == {}
    assert not list((requests.folder / "commands").iterdir())


def _lines(requests: Requests, storage: Storage) -> Iterator[list[str]]:
    lines: list[str] = []
    with listening(storage, "s", ORIGIN) as listener:
        listener.begin(lines.append)
        while True:
            listener.look()
            yield list(lines)
            lines.clear()


def test_a_command_says_what_is_asked_of_it_once(tmp_path: Path, requests: Requests) -> None:
    before = requests.add(PAUSE, ["a", "b"], "--only method=PC")
    lines = _lines(requests, Storage(tmp_path))
    assert next(lines) == [
        f"2 trials (--only method=PC) are paused by {before.by}; they wait for `sweeps resume`"
    ]
    assert next(lines) == []
    requests.remove([before])
    whole = requests.add(PAUSE, None)
    assert next(lines) == [
        f"{whole.user} on {whole.host} has paused all trials at {whole.moment}; those of them that "
        "run save their state and stop",
        f"the pause of 2 trials (--only method=PC) by {before.by} is over",
    ]
