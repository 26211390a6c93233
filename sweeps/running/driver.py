"""Run the trials of a queue through Ray Tune."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from ray import tune
from ray.exceptions import OutOfMemoryError

from quantlab import ConfigurationError
from quantlab.errors import LostProcessError
from sweeps.connecting import early_workers
from sweeps.connecting.ray_cluster import cluster_address
from sweeps.connecting.ray_processes import RayLost
from sweeps.control.listener import Ending, Listener, cancelled_trials
from sweeps.nodes.agreement import Agreement
from sweeps.placement.needs import Needs
from sweeps.running import users_modules
from sweeps.running.metrics import MetricsCallback
from sweeps.running.queue import TrialQueue
from sweeps.running.tune_hooks import (
    ForgettingScheduler,
    QueueSearcher,
    SweepStopper,
    TrialCallback,
    folder_name_of,
    name_of,
)
from sweeps.storage import source_archive
from sweeps.storage.folder import Storage
from sweeps.storage.provenance import running_here
from sweeps.storage.records import Origin
from sweeps.tracking.delivery import Announced
from sweeps.watching.progress import Progress
from sweeps.worker.actor import Worker
from sweeps.worker.failure_reason import reason_of
from sweeps.worker.work import Work

_PAUSE_SECONDS = 0.5
"""Time between two looks whether trials were resumed, which read a file less often."""


@contextmanager
def _loss_told() -> Iterator[None]:
    """Turn the loss of Ray into an error, which Tune must not see; see `RayLost`."""
    try:
        yield
    except RayLost as error:
        raise LostProcessError(str(error)) from error


@_loss_told()
def train(
    name: str,
    queue: TrialQueue,
    storage: Storage,
    data_dir: Path,
    needs: Needs,
    delivery: Announced,
    progress: Progress,
    origin: Origin,
    listener: Listener,
    agreement: Agreement | None,
) -> Ending | None:
    """Distribute trials to workers through Ray Tune until the queue is over.

    Args:
        name: name of the sweep or the study.
        queue: the trials.
        storage: the storage of the trials.
        data_dir: folder of the datasets.
        needs: what trials and packs reserve.
        delivery: is told of trials whose records have changed.
        progress: the display of the terminal.
        origin: the command, which is recorded with each trial.
        listener: listens to requests, and to the budget.
        agreement: what the machines of a cluster have in common; None without a cluster.

    Returns:
        Why some trials have not ended, although nothing is wrong; None if all have.

    Raises:
        ConfigurationError: no trial can be trained, or a study cannot be continued.
        LostProcessError: Ray Tune failed more often than `Resources.retries` allows, or a
            process has ended without which Ray trains nothing.
        KeyboardInterrupt: the user stopped the sweep.
    """
    resources = needs.resources
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(needs.pending))
    running = running_here(
        replace(origin, sources=source_archive.store(storage.root, users_modules.sources()))
    )
    queue.gate = listener.gate
    listener.begin(progress.log)
    work = Work(
        storage=storage,
        mark=storage.mark(),
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        device="cuda" if resources.gpus else "cpu",
        execution=resources.execution,
        running=running,
        gate=listener.gate,
        modules=users_modules.imported_late(),
        agreement=agreement,
    )
    stop = SweepStopper(queue, listener, agreement)
    metrics = MetricsCallback(name, storage, progress, running)
    trainable = tune.with_parameters(Worker, work=work)
    is_own = cluster_address(resources) is None
    failures_of_ray = 0
    while not queue.is_over:
        _wait_while_paused(queue, stop, progress)
        if stop.stop_all():
            break
        callback = TrialCallback(queue, stop, storage, delivery, progress, needs)
        callback.on_ended = metrics.add_spent
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                scheduler=ForgettingScheduler(),
                search_alg=QueueSearcher(queue, stop, progress, needs),
                num_samples=-1,  # until the search is over
                max_concurrent_trials=needs.limit,
                reuse_actors=True,
                trial_name_creator=name_of,
                trial_dirname_creator=folder_name_of,
            ),
            run_config=tune.RunConfig(
                # Two commands on one storage may start in the same second.
                name=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{token_hex(3)}",
                storage_path=str(storage.root / "ray"),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                stop=stop,
                callbacks=[callback, metrics],
            ),
        )
        try:
            with (
                _tune_silenced(),
                stop.on_signals(),
                early_workers.used_by_tune() if is_own else nullcontext(),
            ):
                tuner.fit()
        except ConfigurationError:
            raise
        except Exception as error:
            if stop.error is not None:
                raise stop.error from error
            # Tune gives up on all trials if, for example, Ray's memory monitor kills a process.
            is_memory = isinstance(error.__cause__, OutOfMemoryError)
            line = callback.memory_ran_out() if is_memory else ""
            if not line:
                failures_of_ray += 1
                reason = _why_tune_failed(error, storage)
                if failures_of_ray > resources.retries:
                    raise LostProcessError(
                        f"Ray Tune failed more than {resources.retries} times ({reason})"
                    ) from error
                line = f"Ray Tune failed ({reason}); starting it again"
            print(f"sweeps: {line}", file=sys.stderr, flush=True)
            for cell in queue.pending:
                queue.retry(cell, counts=False)
                progress.interrupted(cell)
        if stop.error is not None:
            raise stop.error
        if queue.fault is not None:
            raise queue.fault
    if stop.requested:
        raise KeyboardInterrupt
    return listener.ending or cancelled_trials(queue.cancelled.values())


def _why_tune_failed(error: Exception, storage: Storage) -> str:
    """The reason, also if Tune reads an error of a trial that a full disk has cut short."""
    if isinstance(error, EOFError):
        return f"a file in {storage.root / 'ray'} is cut short; is the disk full?"
    return reason_of(error)


def _wait_while_paused(queue: TrialQueue, stop: SweepStopper, progress: Progress) -> None:
    """Wait, without processes of Tune, until there is a trial to train or a reason to end."""
    with stop.on_signals(), progress.pause():
        while queue.is_paused() and not stop.stop_all():
            time.sleep(_PAUSE_SECONDS)


@contextmanager
def _tune_silenced() -> Iterator[None]:
    """Discard what Tune prints to standard output at any verbosity; `Progress` replaces it.

    Errors of Tune go to standard error and are not discarded.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
