"""What a command exports as spent, in whichever way its trials end."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from ray.exceptions import ActorDiedError

from sweeps.placement.packing import Packing
from sweeps.running import metrics
from sweeps.running.metrics import MetricsCallback
from sweeps.running.tune_hooks import SweepStopper, TrialCallback
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialFolder
from sweeps.storage.records import Attempt, Running, Stopped, TrialState
from sweeps.worker.pack_report import PackReport
from tests.sweeps.running.test_tune_hooks import Driver
from tests.sweeps.searching.test_untuned import HEAVY, begin, finish, untuned
from tests.sweeps.trial_files import ended

RUNNING = Running(command="sweeps run mine.py", host="box", process=7, command_id="own")


class Exported:
    """A counter or gauge, without Ray."""

    values: ClassVar[Counter[tuple[str, str]]] = Counter()
    """Name and block -> value."""

    def __init__(self, name: str, *arguments: object, **options: object) -> None:
        self._name = name

    def set_default_tags(self, tags: object) -> None:
        """Do nothing."""

    def set(self, value: float, tags: object = None) -> None:
        """Do nothing, as only counters are of interest."""

    def inc(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.values[self._name, (tags or {}).get("block", "")] += value


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    monkeypatch.setattr(metrics, "Counter", Exported)
    monkeypatch.setattr(metrics, "Gauge", Exported)
    monkeypatch.setattr(Exported, "values", Counter())
    return Exported.values


class Measured(Driver):
    """A driver that exports what it spends."""

    def __init__(self, folder: Path, *, trials: int, retries: int = 0) -> None:
        super().__init__(folder, trials=trials, retries=retries)
        progress: Any = SimpleNamespace(states=dict, retried=0)
        self.metrics = MetricsCallback("s", self.storage, progress, RUNNING)
        self.callback.on_ended = self.metrics.add_spent

    def begin(self) -> tuple[Any, TrialFolder]:
        """Start a trial, and return it with its folder."""
        trial = self.start()
        (name,) = trial.config["trials"]
        folder = self.storage.trial(name)
        folder.make()
        folder.recipe.touch()
        return trial, folder

    def report(self, trial: Any, report: PackReport) -> None:
        super().report(trial, report)
        result = {"done": True, **report.as_result()}
        self.metrics.on_trial_result(0, [], trial, result)


def lives_100_seconds(folder: TrialFolder) -> None:
    """Leave the record of a process with a checkpoint after 60 s that was alive after 100 s."""
    attempt = Attempt(began=1.0, seconds=100, slot_seconds=100, gpus=0.5)
    folder.running.write(
        Running(
            command_id="own", attempt=attempt, last_sign=101.0, sharing=1, saved=61.0, host="box"
        )
    )


def test_a_finished_trial_is_added_once_with_its_epochs(
    tmp_path: Path, spent: Counter[tuple[str, str]]
) -> None:
    driver = Measured(tmp_path, trials=1)
    trial, folder = driver.begin()
    name = folder.fingerprint
    driver.report(trial, PackReport(running=(name,), epochs={name: 2}))
    own = Attempt(began=1.0, seconds=8, slot_seconds=4, gpus=0.5, command_id="own")
    folder.result.write(ended(TrialState.COMPLETE, attempt=own))
    driver.report(trial, PackReport(ended={name: TrialState.COMPLETE}, epochs={name: 3}))
    assert spent == {
        ("sweeps_epochs", ""): 3,
        ("sweeps_slot_seconds", "b"): 4,
        ("sweeps_gpu_seconds", "b"): 2,
    }


def test_a_trial_whose_process_died_is_added_when_no_retry_is_left(
    tmp_path: Path, spent: Counter[tuple[str, str]]
) -> None:
    driver = Measured(tmp_path, trials=1, retries=1)
    trial, folder = driver.begin()
    lives_100_seconds(folder)
    driver.fail(trial, ActorDiedError())
    assert not spent
    trial, _ = driver.begin()
    driver.fail(trial, ActorDiedError())
    assert spent == {
        ("sweeps_slot_seconds", "b"): 100,
        ("sweeps_gpu_seconds", "b"): 50,
        ("sweeps_lost_seconds", "b"): 40,
    }


def test_a_pruned_trial_is_added_although_its_process_has_not_stopped(
    tmp_path: Path, spent: Counter[tuple[str, str]]
) -> None:
    """Nothing of it is lost."""
    driver = Measured(tmp_path, trials=1)
    trial, folder = driver.begin()
    lives_100_seconds(folder)
    with folder.locked():
        folder.stopped.write(Stopped(by="study s", time=0))  # as the queue of a study does
        driver.stop.pruned.add(trial.trial_id)
        driver.callback.on_trial_complete(0, [], trial)
    assert spent == {("sweeps_slot_seconds", "b"): 100, ("sweeps_gpu_seconds", "b"): 50}


def test_a_trial_that_a_search_drops_is_added(
    tmp_path: Path, spent: Counter[tuple[str, str]]
) -> None:
    """The configuration that needed it has ended while it waited to go on."""
    storage = Storage(tmp_path)
    queue = StudyQueue(untuned(**HEAVY), storage, packing=Packing(2))
    ends: list[TrialState] = []
    nobody: Any = SimpleNamespace(
        announce=lambda cell: None, ended=lambda cell, state, **info: ends.append(state)
    )
    callback = TrialCallback(queue, SweepStopper(queue), storage, nobody, nobody, nobody)
    exported = MetricsCallback("s", storage, SimpleNamespace(states=dict, retried=0), RUNNING)  # type: ignore[arg-type]
    callback.on_ended = exported.add_spent
    first, second = queue.next()
    lives_100_seconds(begin(storage, second))
    queue.halt(second)
    assert not spent
    queue.ended(first, finish(storage, first))
    assert ends == [TrialState.STOPPED]
    assert spent == {
        ("sweeps_slot_seconds", second.block): 100,
        ("sweeps_gpu_seconds", second.block): 50,
        ("sweeps_lost_seconds", second.block): 40,
    }
    callback.on_ended(second)  # another configuration has needed it, and spent nothing more
    assert spent["sweeps_slot_seconds", second.block] == 100


def test_what_another_command_spent_is_not_added(
    tmp_path: Path, spent: Counter[tuple[str, str]]
) -> None:
    driver = Measured(tmp_path, trials=1)
    trial, folder = driver.begin()
    other = Attempt(began=1.0, seconds=8, slot_seconds=8, command_id="other")
    folder.result.write(ended(TrialState.COMPLETE, attempt=other))
    driver.report(trial, PackReport(ended={folder.fingerprint: TrialState.COMPLETE}))
    assert not spent
