"""The driver: it starts the services of a sweep, and lets Ray Tune run its trials."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from ray import cloudpickle, tune

from quantlab import ConfigurationError
from quantlab.errors import LostProcessError
from sweeps.placement.resources import Resources
from sweeps.running import users_modules
from sweeps.running.progress import Progress
from sweeps.running.queue import TrialQueue
from sweeps.running.ray_cluster import connect, disconnect
from sweeps.running.tune_hooks import (
    QueueSearcher,
    SweepStopper,
    TrialCallback,
    folder_name_of,
    name_of,
)
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.tracking.delivery import Delivery, delivering, reach
from sweeps.tracking.tracker import Tracker
from sweeps.worker.actor import Work, Worker
from sweeps.worker.failure_reason import reason_of


@contextmanager
def services(
    tracker: Tracker, cells: Sequence[Cell], resources: Resources
) -> Iterator[tuple[int, Delivery]]:
    """The tracking server, and Ray.

    Args:
        tracker: where trials are recorded.
        cells: trials with perhaps something that the server does not have yet.
        resources: of the trials to train.

    Yields:
        How many trials may wait in Ray for a place, and the delivery to the server.
    """
    for module in users_modules.reached():
        cloudpickle.register_pickle_by_value(module)
    with ThreadPoolExecutor(1) as pool:
        # Making a new database takes seconds, and so does starting Ray.
        reached = pool.submit(reach, tracker, cells)
        try:
            if tracker.server.is_server:
                reached.result()  # which takes no time, whether or not it is there
            slots = connect(resources)
            reached.result()
            tracker.storage.share_databases()
            with delivering(tracker, cells) as delivery:
                try:
                    yield slots, delivery
                finally:
                    disconnect()
        finally:
            disconnect()


def train(
    name: str,
    queue: TrialQueue,
    storage: Storage,
    data_dir: Path,
    resources: Resources,
    slots: int,
    delivery: Delivery,
    progress: Progress,
) -> None:
    """Hand trials to workers through Ray Tune until the queue is over.

    Args:
        name: of the sweep or the study.
        queue: what is trained.
        storage: where trials lie.
        data_dir: where datasets lie.
        resources: of a trial or pack.
        slots: how many trials may wait in Ray for a place.
        delivery: brings records to the tracking server.
        progress: what the terminal shows.

    Raises:
        ConfigurationError: nothing can be trained, or a study cannot go on.
        LostProcessError: Ray Tune ended more often than there are retries.
        KeyboardInterrupt: the user stopped it.
    """
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(slots))
    work = Work(
        storage=storage,
        mark=storage.mark(),
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        device="cuda" if resources.gpus else "cpu",
        execution=resources.execution,
        modules=users_modules.imported_late(),
    )
    stop = SweepStopper(queue)
    trainable = tune.with_resources(
        tune.with_parameters(Worker, work=work),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    failures_of_ray = 0
    while not queue.is_over:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=QueueSearcher(queue),
                num_samples=-1,  # until the search is over
                max_concurrent_trials=resources.concurrency,
                reuse_actors=True,
                trial_name_creator=name_of,
                trial_dirname_creator=folder_name_of,
            ),
            run_config=tune.RunConfig(
                name=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=str(storage.root / "ray"),
                verbose=0,
                stop=stop,
                callbacks=[TrialCallback(queue, stop, storage, delivery, progress)],
            ),
        )
        try:
            with _tune_silenced(), stop.on_signals():
                tuner.fit()
        except ConfigurationError:
            raise
        except Exception as error:
            if stop.error is not None:
                raise stop.error from error
            # Such as a process that Ray's own memory monitor killed: Tune gives up on everything.
            failures_of_ray += 1
            if failures_of_ray > resources.retries:
                raise LostProcessError(f"Ray Tune ended ({reason_of(error)})") from error
            print(
                f"sweeps: Ray Tune ended ({reason_of(error)}); going on",
                file=sys.stderr,
                flush=True,
            )
            for cell in queue.pending:
                queue.retry(cell, counts=False)
                progress.interrupted(cell)
        if stop.error is not None:
            raise stop.error
        if queue.fault is not None:
            raise queue.fault
        if stop.requested:
            raise KeyboardInterrupt


@contextmanager
def _tune_silenced() -> Iterator[None]:
    """Tune prints its banner and a line a trial whatever its verbosity; `Progress` does that here.

    Its errors go to the standard error, and stay.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
