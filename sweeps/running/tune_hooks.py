"""The hooks of Ray Tune: which trial is next, when to stop, and how a trial has ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from quantlab import ConfigurationError
from sweeps.running import signals
from sweeps.running.progress import Progress
from sweeps.running.queue import TrialQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.tracking.delivery import Delivery
from sweeps.worker.failure_reason import reason_of
from sweeps.worker.pack_report import PackReport
from sweeps.worker.trial import record_failure


def name_of(trial: Trial) -> str:
    """How Tune calls what trains a pack of cells: after the first of them."""
    return str(next(iter(trial.config["trials"])))


def folder_name_of(trial: Trial) -> str:
    """Tune's own folder; a cell that is tried again is in another trial of Tune's."""
    return f"{name_of(trial)}_{trial.trial_id}"


class QueueSearcher(Searcher):
    """Tune asks here what to run next; the answer may be to wait for a trial that is running."""

    def __init__(self, queue: TrialQueue) -> None:
        super().__init__()
        self._queue = queue

    def suggest(self, trial_id: str) -> Any:
        """A pack, recipes by fingerprint, as Tune's configuration; None to wait, or the end."""
        cells = self._queue.next()
        if cells:
            return {"trials": {cell.fingerprint: cell.recipe for cell in cells}}
        return Searcher.FINISHED if self._queue.is_over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `TrialCallback` tells the queue."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see `TrialCallback`."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is left to do stands in the trial folders."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class SweepStopper(Stopper):
    """Ends the sweep on a signal: workers leave a checkpoint once their step is over.

    A trial that a study's pruner has dropped is stopped in the same way.
    """

    def __init__(self, queue: TrialQueue | None = None) -> None:
        self._queue = queue
        self.requested = False
        self.error: ConfigurationError | None = None
        """What keeps any trial from being trained."""
        self.pruned: set[str] = set()
        """Tune's ids of trials that were stopped alone, because the queue prunes them."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self._queue is None or result["done"]:
            return False
        running = PackReport.of_result(result).running
        if len(running) != 1:
            return False  # the others of a pack go on
        (fingerprint,) = running
        if not self._queue.should_prune(fingerprint):
            return False
        self.pruned.add(trial_id)
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see `TrialCallback`."""
        return {}

    def stop_all(self) -> bool:
        """Whether a signal has come, nothing can be trained, or a study cannot go on."""
        has_fault = self._queue is not None and self._queue.fault is not None
        return self.requested or self.error is not None or has_fault

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen while the sweep runs; a second signal does not wait for checkpoints."""
        with signals.handled(self._hear):
            yield

    def listen_again(self) -> None:
        """Once Tune runs, which has taken SIGUSR1 for itself."""
        signals.handle(self._hear)

    def _hear(self) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(
            "\nsweeps: stopping; running trials save their state (again to stop at once)",
            file=sys.stderr,
            flush=True,
        )


class TrialCallback(tune.Callback):
    """Passes what Tune reports of its trials on to the queue, MLflow and the display."""

    def __init__(
        self,
        queue: TrialQueue,
        stop: SweepStopper,
        storage: Storage,
        delivery: Delivery,
        progress: Progress,
    ) -> None:
        self._queue = queue
        self._stop = stop
        self._storage = storage
        self._delivery = delivery
        self._progress = progress
        self._started = time.time()
        self._lost: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks to restore a sweep its way; ours is by trial folders."""
        return {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Tune begins."""
        self._stop.listen_again()

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        for cell in self._pack(trial):
            self._progress.started(cell, waiting=self._queue.num_waiting)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        report = PackReport.of_result(result)
        if report.unable:
            self._stop.error = ConfigurationError(report.unable)
            return
        if report.largest is not None:
            largest, cell = report.largest, self._pack(trial)[0]
            if self._queue.limit_packs(cell, largest):
                self._progress.say(f"packs as of {cell.name} do not fit into memory: {largest} now")
        for cell in self._pack(trial):
            # The worker's word: a network file system may take a while to show us its file.
            state = report.ended.get(cell.fingerprint)
            if state is None:
                self._delivery.announce(cell)
                continue
            if not state.is_finished and state is not TrialState.FAILED:
                state = self._failed(cell, "it ended without a result")
            self._ended(cell, state)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        _forget_metrics(trial)
        if trial.trial_id in self._stop.pruned:
            for cell in self._pack(trial):
                if self._queue.is_pending(cell):
                    self._ended(cell, TrialState.STOPPED)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Its process has died, or an error was raised that another attempt may not meet."""
        if trial.trial_id in self._lost:  # a process that dies between two trials is told twice
            return
        self._lost.add(trial.trial_id)
        _forget_metrics(trial)
        error = _error(trial)
        preempted = isinstance(error, RayActorError) and error.preempted
        if isinstance(error, RayActorError) and error.actor_init_failed:
            # Before any trial: it would be raised again and again, for each of them.
            self._stop.error = ConfigurationError(f"workers cannot start: {reason_of(error)}")
            return
        cells = [cell for cell in self._pack(trial) if self._queue.is_pending(cell)]
        for cell in cells:
            if self._queue.retry(cell, counts=not preempted, of_pack=len(cells) > 1):
                self._progress.interrupted(cell)
                continue
            state = self._storage.trial(cell.fingerprint).state()
            if not state.is_finished:
                state = self._failed(
                    cell, f"its process died, the last time too ({reason_of(error)})"
                )
            self._ended(cell, state)

    def _failed(self, cell: Cell, reason: str) -> TrialState:
        """Write down why, unless the trial itself has done so."""
        folder = self._storage.trial(cell.fingerprint)
        failure = folder.failure.read()
        if failure is None or failure.time < self._started:
            record_failure(folder, reason)
        return TrialState.FAILED

    def _pack(self, trial: Trial) -> list[Cell]:
        return [self._queue.cell(fingerprint) for fingerprint in trial.config["trials"]]

    def _ended(self, cell: Cell, state: TrialState) -> None:
        children = self._queue.ended(cell, state)
        for ended, its in ((cell, state), *((child, TrialState.FAILED) for child in children)):
            self._delivery.announce(ended)
            self._progress.ended(ended, its, waiting=self._queue.num_waiting)


def _forget_metrics(trial: Trial) -> None:
    """Tune keeps all trials, and would keep rolling averages of their metrics too, for nobody."""
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


def _error(trial: Trial) -> Exception | None:
    """What ended a trial's last attempt."""
    file = trial.pickled_error_file
    if file is None or not Path(file).exists():
        return None
    error: Exception = cloudpickle.loads(Path(file).read_bytes())
    return error
