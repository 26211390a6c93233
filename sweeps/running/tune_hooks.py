"""The hooks of Ray Tune: the next trial, when to stop, and the end of a trial."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from quantlab import ConfigurationError
from sweeps.connecting import signals
from sweeps.connecting.ray_cluster import require_ray
from sweeps.control.listener import Listener
from sweeps.nodes.agreement import Agreement
from sweeps.placement.needs import Needs
from sweeps.running.queue import TrialQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.records import Failure
from sweeps.tracking.delivery import Announced
from sweeps.watching.progress import Progress
from sweeps.worker.failure_reason import reason_of
from sweeps.worker.pack_report import PackReport
from sweeps.worker.trial_writer import record_failure


def name_of(trial: Trial) -> str:
    """Return the name of a trial in Tune, which is a pack of cells: that of its first cell."""
    return str(next(iter(trial.config["trials"])))


def folder_name_of(trial: Trial) -> str:
    """Return the name of Tune's folder of a trial; a retry is another trial in Tune."""
    return f"{name_of(trial)}_{trial.trial_id}"


class QueueSearcher(Searcher):
    """Gives the packs of a queue to Tune."""

    def __init__(
        self, queue: TrialQueue, stop: "SweepStopper", progress: Progress, needs: Needs
    ) -> None:
        super().__init__()
        self._queue = queue
        self._needs = needs
        self._stop = stop
        self._progress = progress

    def suggest(self, trial_id: str) -> Any:
        """Return the next pack as Tune's configuration: its recipes by fingerprint, and its place.

        None makes Tune ask again later. If no trial runs, it does nothing but to ask for minutes,
        so that a stop must be noticed here.
        """
        if self._stop.stop_all():
            return Searcher.FINISHED
        cells = self._queue.next()
        if cells:
            trials = {cell.fingerprint: cell.recipe for cell in cells}
            return {"trials": trials, "bundles": self._needs.bundles(cells)}
        if not self._queue.pending and self._queue.elsewhere:
            self._progress.waits_for(self._queue.elsewhere)
        # While all that is left is paused, Tune ends, so that its processes free their memory.
        is_finished = self._queue.is_over or self._queue.is_paused()
        return Searcher.FINISHED if is_finished else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing, because `TrialCallback` reports the end of trials to the queue."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing; see `TrialCallback`."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, because the trial folders determine which trials are left."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing; see `save`."""


class ForgettingScheduler(FIFOScheduler):
    """Tune's default order of trials, which lets Tune forget those that have ended.

    Tune would keep 20 KB of each trial to the end of the sweep. Nothing uses that, because the
    trial folders have the results. The fields are Tune's own; if a version of Ray has others, the
    records are kept.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ended: list[Trial] = []

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Forget the trials that ended before; Tune still works on this one."""
        for ended in self._ended:
            _forget(tune_controller, ended)
        self._ended = [trial]


class SweepStopper(Stopper):
    """Stops the sweep on a signal, and single trials that the pruner of a study prunes.

    On the first signal, such as Ctrl-C, `stop_all` becomes true, and Tune stops the actors.
    `Worker.cleanup` then closes the training of each pack, which saves a checkpoint at the end of
    the current step (`sweeps.worker.trial`). The driver raises KeyboardInterrupt when all actors
    have ended, and the command returns the exit code 130. A second signal raises it at once.
    """

    def __init__(
        self,
        queue: TrialQueue | None = None,
        listener: Listener | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        self._queue = queue
        self._listener = listener
        self._agreement = agreement
        self.requested = False
        self.error: ConfigurationError | None = None
        """An error because of which no trial can be trained; None if there is none."""
        self.pruned: set[str] = set()
        """Tune's ids of pruned trials."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self._queue is None or result["done"]:
            return False
        report = PackReport.of_result(result)
        if report.lock and self._agreement is not None:
            try:
                self._agreement.meeting.require_lock_of(report.lock, report.host)
            except ConfigurationError as error:
                self.error = error
                return True
        if len(report.running) != 1:
            return False  # Tune can stop a pack only as a whole
        (fingerprint,) = report.running
        if not self._queue.should_prune(fingerprint):
            return False
        self.pruned.add(trial_id)
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing; see `TrialCallback`."""
        return {}

    def stop_all(self) -> bool:
        """Whether a signal was received, no trial can be trained, or the queue has failed.

        It is also true if all trials were cancelled or the budget is spent; see `Listener.ending`.

        Raises:
            RayLost: a process of Ray has ended, so that Tune cannot stop anything.
        """
        require_ray()
        if self._listener is not None:
            self._listener.look()
            if self._listener.ending is not None:
                return True
        has_fault = self._queue is not None and self._queue.fault is not None
        return self.requested or self.error is not None or has_fault

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle signals while the sweep runs; a second one stops it without checkpoints."""
        with signals.handled(self._on_signal):
            yield

    def listen_again(self) -> None:
        """Handle signals again after Tune, when it starts, has replaced the handler of SIGUSR1."""
        signals.handle(self._on_signal)

    def _on_signal(self) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(
            "\nsweeps: stopping; running trials save their state (repeat to stop at once)",
            file=sys.stderr,
            flush=True,
        )


class TrialCallback(tune.Callback):
    """Passes the reports of Tune's trials on to the queue, MLflow and the display."""

    def __init__(
        self,
        queue: TrialQueue,
        stop: SweepStopper,
        storage: Storage,
        delivery: Announced,
        progress: Progress,
        needs: Needs,
    ) -> None:
        self._queue = queue
        self._needs = needs
        self._running: dict[str, list[Cell]] = {}
        self._stop = stop
        self._storage = storage
        self._delivery = delivery
        self._progress = progress
        self._started = time.time()
        self._lost: set[str] = set()
        queue.on_ended_elsewhere = self._ended
        queue.on_dropped = lambda cell: self._tell_end(cell, TrialState.STOPPED)
        self.on_ended: Callable[[Cell], object] = lambda cell: None
        """Called with each trial that has ended, in whichever way."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing.

        Tune pickles callbacks in order to restore a sweep, but the trial folders do that here.
        """
        return {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Handle signals again; called when Tune starts."""
        self._stop.listen_again()

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._running[trial.trial_id] = self._pack(trial)
        for cell in self._running[trial.trial_id]:
            self._progress.started(cell, waiting=self._queue.num_waiting)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        report = PackReport.of_result(result)
        if report.setup_error:
            self._stop.error = ConfigurationError(report.setup_error)
            return
        if report.largest is not None:
            largest, cell = report.largest, self._pack(trial)[0]
            if self._queue.limit_packs(cell, largest):
                self._progress.log(
                    f"{cell.name}: its pack does not fit into memory; packs of such trials have at "
                    f"most {largest} trials from now on"
                )
        if report.memory_gib is not None:
            self._needs.memory.note(self._pack(trial), report.memory_gib)
        self._progress.continued(report.continued)
        self._progress.advanced(report.epochs)
        for cell in self._pack(trial):
            if cell.fingerprint in report.elsewhere:
                self._queue.leave(cell)
                self._progress.left(cell)
                continue
            if cell.fingerprint in report.halted:
                self._queue.halt(cell)
                self._progress.left(cell)
                self._delivery.announce(cell)
                continue
            # Use the state that the worker reports: files may appear late on a network file system.
            state = report.ended.get(cell.fingerprint)
            if state is None:
                self._delivery.announce(cell)
                continue
            if not state.is_finished and state is not TrialState.FAILED:
                state = self._failed(cell, "the trial ended without a result")
            self._ended(cell, state)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._running.pop(trial.trial_id, None)
        if trial.trial_id in self._stop.pruned:
            for cell in self._pack(trial):
                if self._queue.is_pending(cell):
                    self._ended(cell, TrialState.STOPPED)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Retry trials whose process died or met an error that may not occur again.

        A trial is not retried if its process has recorded another error before it died.
        """
        if trial.trial_id in self._lost:  # Tune reports a process that dies between trials twice
            return
        self._lost.add(trial.trial_id)
        self._running.pop(trial.trial_id, None)
        error = _error(trial)
        preempted = isinstance(error, RayActorError) and error.preempted
        if isinstance(error, RayActorError) and error.actor_init_failed:
            # Workers fail before any trial starts, so a retry would fail too.
            self._stop.error = ConfigurationError(f"workers cannot start: {reason_of(error)}")
            return
        cells = [cell for cell in self._pack(trial) if self._queue.is_pending(cell)]
        for cell in cells:
            failure = self._failure(cell)
            if failure is not None and not failure.is_transient:
                self._ended(cell, TrialState.FAILED)
                continue
            if self._queue.retry(cell, counts=not preempted, of_pack=len(cells) > 1):
                self._progress.interrupted(cell)
                continue
            state = self._storage.trial(cell.fingerprint).state()
            if not state.is_finished:
                state = self._failed(
                    cell, f"its process died, and no retries are left ({reason_of(error)})"
                )
            self._ended(cell, state)

    def memory_ran_out(self) -> str:
        """Let fewer trials run at once, after Ray has killed one because memory was used up.

        If a pack was alone on its machine, smaller packs are formed. A trial that was alone fails.
        If each of several machines had one trial, it is not known which one was killed, so that
        each spends a retry.

        Returns:
            A line about what happens now; empty if nothing is known of the trials that ran.
        """
        packs = [list(filter(self._queue.is_pending, cells)) for cells in self._running.values()]
        packs = list(filter(None, packs))
        if not packs:
            return ""
        if line := self._needs.fewer_at_once(packs):
            return line
        reason = "its machine has too little memory for it alone, and Ray has killed its process"
        for cells in packs:
            if len(cells) > 1:
                self._queue.limit_packs(cells[0], len(cells) // 2)
            elif len(packs) == 1 or not self._queue.retry(cells[0]):
                self._ended(cells[0], self._failed(cells[0], reason))
        return "the memory of a machine was used up by a single trial or pack, which Ray has killed"

    def _failed(self, cell: Cell, reason: str) -> TrialState:
        """Record the failure of a trial, unless its worker has already done so."""
        if self._failure(cell) is None:
            record_failure(self._storage.trial(cell.fingerprint), reason)
        return TrialState.FAILED

    def _failure(self, cell: Cell) -> Failure | None:
        """Return the failure that a worker has recorded in this sweep; None if there is none."""
        failure = self._storage.trial(cell.fingerprint).failure.read()
        return None if failure is None or failure.time < self._started else failure

    def _pack(self, trial: Trial) -> list[Cell]:
        return [self._queue.cell(fingerprint) for fingerprint in trial.config["trials"]]

    def _ended(self, cell: Cell, state: TrialState) -> None:
        children = self._queue.ended(cell, state)
        failed = [(child, TrialState.FAILED) for child in children]
        for ended, its_state in [(cell, state), *failed]:
            self._tell_end(ended, its_state)
            if its_state is TrialState.FAILED:
                self._queue.on_failed(ended)

    def _tell_end(self, cell: Cell, state: TrialState) -> None:
        self._delivery.announce(cell)
        self._progress.ended(cell, state, waiting=self._queue.num_waiting)
        self.on_ended(cell)


def _forget(controller: TuneController, trial: Trial) -> None:
    with suppress(AttributeError, ValueError):
        controller._stopped_trials.discard(trial)
        controller._trials_to_cache.discard(trial)
        controller._trial_metadata.pop(trial.trial_id, None)
        controller._trials.remove(trial)


def _error(trial: Trial) -> Exception | None:
    """Return the error that ended the last attempt of a trial, if Tune has stored it."""
    file = trial.pickled_error_file
    if file is None or not Path(file).exists():
        return None
    error: Exception = cloudpickle.loads(Path(file).read_bytes())
    return error
