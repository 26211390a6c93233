"""What becomes of trials when Tune reports errors: which of them cost a retry."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from quantlab import ConfigurationError
from sweeps.control import gate
from sweeps.control.listener import CANCELLED, listening
from sweeps.control.requests import CANCEL, Requests
from sweeps.placement.needs import Needs
from sweeps.placement.packing import Packing
from sweeps.placement.resources import Resources
from sweeps.placement.trial_memory import GIB, TrialMemory
from sweeps.running import other_commands
from sweeps.running.cell_queue import CellQueue
from sweeps.running.tune_hooks import QueueSearcher, SweepStopper, TrialCallback
from sweeps.spec import Block, SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.records import Origin, TrialState
from sweeps.worker.pack_report import PackReport
from sweeps.worker.trial_writer import record_failure
from tests.conftest import Ran
from tests.quantlab.recipes import small_recipe

PREEMPTED = RayActorError(preempted=True)
Break = Callable[[Any, Exception], None]


class Driver:
    """A queue with Tune's hooks around it, and Tune's part played by the test."""

    def __init__(self, folder: Path, *, trials: int, retries: int, pack: int = 1) -> None:
        blocks = (Block("b", base=small_recipe()),)
        cells = SweepSpec(name="s", blocks=blocks, seeds=tuple(range(trials))).cells
        self.folder = folder
        self.storage = Storage(folder)
        self.queue = CellQueue(cells, self.storage, retries=retries, packing=Packing(pack))
        self.stop = SweepStopper(self.queue)
        self.ended: list[TrialState] = []
        delivery: Any = SimpleNamespace(announce=lambda cell: None)
        progress: Any = SimpleNamespace(
            interrupted=lambda cell: None,
            log=lambda line: None,
            left=lambda cell: None,
            continued=lambda after: None,
            advanced=lambda finished: None,
            waits_for=lambda cells: None,
            started=lambda cell, **info: None,
            ended=lambda cell, state, **info: self.ended.append(state),
        )
        machines = [{"CPU": 4.0, "memory": 8.0 * GIB}]
        needs = Needs(Resources(), TrialMemory(), look=lambda: machines)
        self.searcher = QueueSearcher(self.queue, self.stop, progress, needs)
        self.callback = TrialCallback(
            self.queue, self.stop, self.storage, delivery, progress, needs
        )
        self._started = 0

    def start(self) -> Any:
        """Tune's next trial."""
        config = self.searcher.suggest("")
        assert isinstance(config, dict)
        self._started += 1
        trial: Any = SimpleNamespace(trial_id=str(self._started), config=config)
        self.callback.on_trial_start(0, [], trial)
        return trial

    def fail(self, trial: Any, error: Exception) -> None:
        file = self.folder / f"error-{trial.trial_id}"
        file.write_bytes(cloudpickle.dumps(error))
        trial.pickled_error_file = str(file)
        self.callback.on_trial_error(0, [], trial)

    def report(self, trial: Any, report: PackReport) -> None:
        self.callback.on_trial_result(0, [], trial, {"done": True, **report.as_result()})

    @property
    def states(self) -> list[TrialState]:
        folders = (self.storage.root / "trials").glob("*")
        return [self.storage.trial(folder.name).state() for folder in folders]


def test_a_process_that_dies_costs_a_retry(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=2)
    for _ in range(2):
        driver.fail(driver.start(), ActorDiedError())
        assert driver.ended == []
    driver.fail(driver.start(), ActorDiedError())
    assert driver.ended == [TrialState.FAILED]
    assert driver.states == [TrialState.FAILED]
    assert driver.queue.is_over


def test_an_error_that_another_attempt_may_survive_costs_a_retry(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=1)
    error = OSError("the disk is away")
    driver.fail(driver.start(), RayTaskError("step", f"OSError: {error}", error))
    assert driver.ended == []
    driver.fail(driver.start(), RayTaskError("step", f"OSError: {error}", error))
    assert driver.ended == [TrialState.FAILED]


def test_an_error_that_was_recorded_before_the_process_died_is_final(tmp_path: Path) -> None:
    """Unless another attempt may survive it."""
    driver = Driver(tmp_path, trials=1, retries=5)
    for is_transient, ended in ((True, []), (False, [TrialState.FAILED])):
        trial = driver.start()
        (fingerprint,) = trial.config["trials"]
        folder = driver.storage.trial(fingerprint)
        record_failure(folder, "the data is missing", is_transient=is_transient)
        driver.fail(trial, ActorDiedError())
        assert driver.ended == ended
    failure = folder.failure.read()
    assert failure is not None
    assert failure.error == "the data is missing"


def test_a_preempted_machine_costs_none(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=0)
    for _ in range(3):
        driver.fail(driver.start(), PREEMPTED)
    assert driver.ended == []
    driver.fail(driver.start(), ActorDiedError())
    assert driver.ended == [TrialState.FAILED]


def test_a_loss_that_is_reported_twice_costs_one_retry(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=1)
    trial = driver.start()
    driver.fail(trial, ActorDiedError())
    driver.fail(trial, ActorDiedError())
    again = driver.start()
    assert driver.ended == []
    driver.fail(again, ActorDiedError())
    assert driver.ended == [TrialState.FAILED]


def test_only_what_has_not_ended_is_retried(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=3, retries=0, pack=3)
    trial = driver.start()
    first, *others = trial.config["trials"]
    driver.report(
        trial, PackReport(running=tuple(others), ended={first: TrialState.COMPLETE}, largest=2)
    )
    assert driver.ended == [TrialState.COMPLETE]
    driver.fail(trial, ActorDiedError())  # of a pack, which is no retry of its trials
    assert list(driver.start().config["trials"]) == others


def test_a_trial_that_ends_without_a_result_has_failed(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=5)
    trial = driver.start()
    (fingerprint,) = trial.config["trials"]
    driver.report(trial, PackReport(ended={fingerprint: TrialState.RUNNING}))
    assert driver.ended == [TrialState.FAILED]
    failure = driver.storage.trial(fingerprint).failure.read()
    assert failure is not None
    assert "without a result" in failure.error


def test_what_another_command_trains_is_handed_out_again_if_that_one_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile Tune asks again and again, until a signal."""
    monkeypatch.setattr(other_commands, "LOOK_SECONDS", 0)
    monkeypatch.setattr(other_commands, "_MOST_OF_THE_TIME", 1e9)
    driver = Driver(tmp_path, trials=1, retries=0)
    trial = driver.start()
    (fingerprint,) = trial.config["trials"]
    folder = driver.storage.trial(fingerprint)
    folder.make()
    folder.recipe.touch()
    with folder.locked():
        driver.report(trial, PackReport(elsewhere=(fingerprint,)))
        assert driver.searcher.suggest("") is None
        driver.stop.requested = True
        assert driver.searcher.suggest("") == QueueSearcher.FINISHED
        driver.stop.requested = False
    assert list(driver.start().config["trials"]) == [fingerprint]
    assert driver.ended == []


@pytest.mark.parametrize("is_reported", [True, False])
def test_a_worker_that_cannot_work_ends_the_sweep(tmp_path: Path, is_reported: bool) -> None:
    driver = Driver(tmp_path, trials=2, retries=5)
    trial = driver.start()
    if is_reported:
        driver.report(trial, PackReport(setup_error="no storage"))
    else:
        error = RayTaskError("__init__", "ImportError: no module", ImportError("no module"))
        driver.fail(trial, ActorDiedError(error))
    assert isinstance(driver.stop.error, ConfigurationError)
    assert driver.stop.stop_all()
    assert driver.ended == []


def test_what_a_request_has_stopped_is_put_back_and_costs_no_retry(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=3, retries=0, pack=3)
    trial = driver.start()
    first, *others = trial.config["trials"]
    driver.report(trial, PackReport(ended={first: TrialState.COMPLETE}))
    driver.report(trial, PackReport(halted=tuple(others)))
    assert not driver.queue.pending
    assert list(driver.start().config["trials"]) == others
    assert driver.ended == [TrialState.COMPLETE]


def test_a_command_of_which_all_was_cancelled_stops_as_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0)
    driver = Driver(tmp_path, trials=2, retries=0)
    with listening(driver.storage, "s", Origin(command="sweeps run s")) as listener:
        stop = SweepStopper(driver.queue, listener)
        assert not stop.stop_all()
        Requests(driver.storage, "s").add(CANCEL, None)
        assert stop.stop_all()
        assert not stop.requested
        assert listener.ending is not None
        assert listener.ending.state == CANCELLED


def test_a_failure_is_told(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=2, retries=0)
    told: list[str] = []
    driver.queue.on_failed = lambda cell: told.append(cell.name)
    driver.fail(driver.start(), ActorDiedError())
    trial = driver.start()
    (name,) = trial.config["trials"]
    driver.report(trial, PackReport(ended={name: TrialState.COMPLETE}))
    assert told == ["b seed=0"]


def test_fewer_trials_run_at_once_after_one_was_killed_because_of_memory(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=4, retries=3)
    trials = [driver.start() for _ in range(4)]
    assert {trial.config["bundles"][0].get("memory") for trial in trials} == {None}
    for trial in trials:
        (fingerprint,) = trial.config["trials"]
        driver.report(trial, PackReport(running=(fingerprint,), memory_gib=2.5))
    line = driver.callback.memory_ran_out()
    assert "now 2 trials or packs run at once on a machine, and each reserves 4.0 GiB" in line
    for cell in driver.queue.pending:
        driver.queue.retry(cell, counts=False)
    assert [driver.start().config["bundles"][0]["memory"] for _ in range(4)] == [4 * GIB] * 4


def test_a_trial_that_needs_more_memory_than_a_machine_has_fails_at_once(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=1, retries=3)
    driver.start()
    assert "used up by a single trial" in driver.callback.memory_ran_out()
    assert driver.ended == [TrialState.FAILED]
    (fingerprint,) = (folder.name for folder in (driver.storage.root / "trials").glob("*"))
    failure = driver.storage.trial(fingerprint).failure.read()
    assert failure is not None
    assert "too little memory for it alone" in failure.error
    assert driver.callback.memory_ran_out() == "", "nothing runs, so that nothing can be changed"


def test_a_pack_that_uses_up_the_memory_of_a_machine_is_halved(tmp_path: Path) -> None:
    driver = Driver(tmp_path, trials=4, retries=0, pack=4)
    assert len(driver.start().config["trials"]) == 4
    driver.callback.memory_ran_out()
    for cell in driver.queue.pending:
        driver.queue.retry(cell, counts=False)
    assert driver.ended == []
    assert len(driver.start().config["trials"]) == 2


def test_tune_forgets_trials_that_have_ended(tiny: Ran) -> None:
    """What it knows at the end of a sweep of six trials, two at a time."""
    (state,) = tiny.folder.glob("runs/ray/*/experiment_state-*.json")
    assert 1 <= len(json.loads(state.read_text())["trial_data"]) <= 3
    assert len(list((tiny.folder / "runs" / "trials").iterdir())) == 6
