"""Signs of life of a process that trains, and what they say when it has died."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.cli.summary import _identity
from sweeps.control.budget import Budget
from sweeps.control.meter import Meter
from sweeps.spec import Block, SweepSpec
from sweeps.spending import attempts as recorded
from sweeps.spending import ongoing
from sweeps.spending.attempts import attempts_of, sign_seconds
from sweeps.spending.ongoing import OngoingAttempts, Reserved
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import Attempt, Running
from tests.quantlab.recipes import small_recipe
from tests.services import wait_until

HOUR = 3600.0
BEGIN = 1e9
RUNNING = Running(command="sweeps run mine.py", host="box", process=7, command_id="c")
OLD = replace(RUNNING, attempt=Attempt(began=BEGIN, gpus=1.0, pack=2))
"""The record of an earlier release, whose file has the time of the last sign of life."""


@dataclass
class Clock:
    """A clock of the whole program, which does not move by itself."""

    now: float = BEGIN


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    for module in (recorded, ongoing):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: own.now))
    return own


def folders(root: Path, number: int) -> list[TrialFolder]:
    """Return the folders of trials that have begun."""
    found = [Storage(root).trial(f"trial{place}") for place in range(number)]
    for folder in found:
        folder.make()
        folder.recipe.touch()
    return found


@contextmanager
def trained(*trials: TrialFolder) -> Iterator[OngoingAttempts]:
    """Hold the locks of a pack whose process gives signs of life when a test says so."""
    with ExitStack() as locks:
        for folder in trials:
            locks.enter_context(folder.locked())
        yield OngoingAttempts(trials, RUNNING, Reserved(cpus=1, gpus=1))


def hours(folder: TrialFolder) -> float:
    return attempts_of(folder)[-1].slot_seconds / HOUR


def dies_after_an_hour(folder: TrialFolder, clock: Clock) -> None:
    """Train a trial for an hour, with a checkpoint after half of it."""
    with trained(folder) as attempts:
        attempts.show_life()
        clock.now += HOUR / 2
        attempts.saved(folder)
        clock.now += HOUR / 2
        attempts.show_life()


def test_a_copy_or_a_touched_file_changes_nothing_of_a_process_that_died(
    tmp_path: Path, clock: Clock
) -> None:
    (folder,) = folders(tmp_path / "runs", 1)
    dies_after_an_hour(folder, clock)
    folder.checkpoint.touch()
    (died,) = attempts_of(folder)
    assert (died.died, died.seconds, died.slot_seconds) == (True, HOUR, HOUR)
    assert died.lost_seconds == HOUR / 2
    assert folder.running.path.stat().st_mtime > BEGIN + 100 * HOUR, "it is that of the test"
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    (copied,) = folders(tmp_path / "copy", 1)
    assert attempts_of(copied) == [died]


@pytest.mark.parametrize("record", ["of this release", "of an earlier release"])
def test_a_process_that_died_weeks_ago_has_spent_nothing_since_when_the_next_one_begins(
    tmp_path: Path, clock: Clock, record: str
) -> None:
    """The next one holds the lock, and has not recorded its own attempt yet."""
    sweep = SweepSpec(name="s", blocks=(Block("b", base=small_recipe()),), seeds=(0,))
    storage = Storage(tmp_path)
    folder = storage.trial(sweep.cells[0].fingerprint)
    folder.make()
    folder.recipe.touch()
    if record == "of this release":
        dies_after_an_hour(folder, clock)
    else:
        folder.running.write(replace(OLD, attempt=Attempt(began=BEGIN, gpus=1.0)))
        os.utime(folder.running.path, (BEGIN + HOUR, BEGIN + HOUR))
    clock.now = BEGIN + 504 * HOUR

    def spent() -> str:
        own = Meter(Budget.parse("200h"), lambda: sweep.cells, storage, counts_gpus=True)
        assert own.ending() is None
        return own.spent

    assert spent() == "1 GPU hours"
    with folder.locked():
        assert spent() == "1 GPU hours"
        OngoingAttempts([folder], RUNNING)
        (kept,) = attempts_of(folder)
    assert (kept.seconds, kept.died) == (HOUR, True)


def test_a_trial_that_is_trained_counts_until_now(tmp_path: Path, clock: Clock) -> None:
    (folder,) = folders(tmp_path, 1)
    with trained(folder) as attempts:
        attempts.show_life()
        clock.now += 2 * sign_seconds(1)
        (running,) = attempts_of(folder)
        assert (running.state, running.seconds) == (TrialState.RUNNING, 2 * sign_seconds(1))


def test_what_members_of_a_pack_leave_is_that_of_the_others(tmp_path: Path, clock: Clock) -> None:
    """While it runs, if its process dies, and if it ends in an orderly way."""
    *ended, last = folders(tmp_path, 10)
    with trained(*ended, last) as attempts:
        attempts.show_life()
        clock.now += HOUR
        for folder in ended:
            assert attempts.finish(folder, TrialState.DIVERGED).slot_seconds == HOUR / 10
        clock.now += 5 * HOUR
        attempts.show_life()
        assert hours(last) == pytest.approx(5.1)
        clock.now += 36
        assert hours(last) == pytest.approx(5.11)
        assert attempts_of(last)[-1].state is TrialState.RUNNING
    assert hours(last) == pytest.approx(5.1)
    attempts.stop()
    assert hours(last) == pytest.approx(5.11)


def test_records_of_earlier_releases_count_as_before(tmp_path: Path, clock: Clock) -> None:
    first, second = folders(tmp_path, 2)
    for folder in (first, second):
        folder.running.write(OLD)
        os.utime(folder.running.path, (BEGIN + HOUR, BEGIN + HOUR))
        folder.checkpoint.touch()
        os.utime(folder.checkpoint, (BEGIN + HOUR / 2, BEGIN + HOUR / 2))
    text = first.running.path.read_text()
    assert not any(name in text for name in ("last_sign", "sharing", "saved"))
    clock.now = BEGIN + HOUR + 36
    (died,) = attempts_of(first)
    assert (died.died, died.slot_seconds, died.lost_seconds) == (True, HOUR / 2, HOUR / 4)
    with second.locked():
        assert hours(second) == pytest.approx(0.505)


def test_signs_of_life_do_not_wait_for_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during a long evaluation. They end with the attempt."""
    monkeypatch.setattr(ongoing, "sign_seconds", lambda trials: 0.01)
    (folder,) = folders(tmp_path, 1)

    def last_sign() -> float:
        read = folder.running.read()
        assert read is not None
        return read.last_sign

    with trained(folder) as attempts:
        attempts.show()
        first = last_sign()
        wait_until("there is another sign", lambda: last_sign() > first)
        attempts.stop()
        folder.running.remove()
    (ended,) = attempts_of(folder)
    assert (ended.state, ended.died) == (TrialState.INTERRUPTED, False)
    assert not folder.running.exists()


def test_a_command_is_described_without_what_changes_while_it_trains() -> None:
    """`sweeps status --json` lists a command once, for all trials that it trains."""
    trains = replace(RUNNING, attempt=Attempt(began=1.0), last_sign=2.0, sharing=3, saved=1.5)
    assert _identity(trains) == _identity(RUNNING)
    assert set(_identity(trains)) >= {"command", "host", "process", "command_id"}
