"""Ray Tune: runs one trial for each cell that is not finished."""

import logging
import math
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before Ray is imported: our own records stand in for Tune's log files and snapshots, and Ctrl-C is
# ours.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(10**9))
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import cloudpickle, tune
from ray.exceptions import AuthenticationError

from quantlab import ConfigurationError
from quantlab.errors import LostProcessError, in_full
from sweeps import signals, users_modules
from sweeps.before_training import tell_of_networks
from sweeps.delivery import Delivery, delivering, reach
from sweeps.hooks import (
    QueueSearcher,
    SweepStopper,
    TrialCallback,
    folder_name_of,
    name_of,
    reason_of,
)
from sweeps.packing import Packing
from sweeps.preflight import preflight
from sweeps.probe import alive_nodes, fastest_packing
from sweeps.progress import Progress
from sweeps.resources import Resources, usable_cpus
from sweeps.schedule import CellQueue
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.tracking import Tracker
from sweeps.trial_queue import TrialQueue
from sweeps.worker import Work, Worker

if TYPE_CHECKING:
    from sweeps.study import StudySpec

# It would report every attempt that another one has made good.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)

PENDING_TRIALS = 200
"""Trials that wait in Ray for a free place at once, which is what a cluster grows by."""


def run_cells(
    sweep: SweepSpec,
    cells: list[Cell],
    storage: Storage,
    *,
    tracking_uri: str | None,
    data_dir: Path,
    resources: Resources,
    quiet: bool = False,
) -> None:
    """Train the given cells; what became of them stands in their folders.

    Raises:
        ConfigurationError: see `preflight`, `Storage.locked` and `Tracker`; nothing has been
            trained then.
        KeyboardInterrupt: the user stopped it; every trial keeps its last checkpoint.
    """
    resources = resources.for_trials(len(cells))
    storage.require_writable()
    with storage.locked():
        preflight(cells, storage, data_dir, runs_here=not resources.gpus_per_trial)
        tell_of_networks(cells, data_dir)
        tracker = Tracker(sweep.experiment or sweep.name, storage, tracking_uri)
        with _services(tracker, sweep.cells, resources) as (slots, delivery):
            progress = Progress(
                sweep.cells, storage, to_run=len(cells), stream=sys.stdout, quiet=quiet
            )
            with progress:
                queue = CellQueue(
                    cells,
                    storage,
                    retries=resources.retries,
                    names={cell.fingerprint: cell.name for cell in sweep.cells},
                    packing=_packing(cells, data_dir, resources, progress),
                )
                for cell in queue.failed_at_once:
                    progress.ended(cell, TrialState.FAILED)
                _tune(sweep.name, queue, storage, data_dir, resources, slots, delivery, progress)


def run_study(
    spec: "StudySpec",
    storage: Storage,
    *,
    study_storage: str | None,
    tracking_uri: str | None,
    data_dir: Path,
    resources: Resources,
    quiet: bool = False,
) -> None:
    """Try configurations until the study's budget is spent; other drivers may take part.

    Raises:
        ConfigurationError: see `StudySpec.require_valid`, `preflight` and `Tracker`; nothing has
            been trained then.
        KeyboardInterrupt: the user stopped it; every trial keeps its last checkpoint.
    """
    if resources.pack is None:
        raise ConfigurationError("--pack auto: a search needs a number, as its trials come singly")
    # Optuna takes a second to import, for nothing in a sweep.
    from sweeps.race import StudyQueue
    from sweeps.study_results import cell_of

    pack = resources.pack
    resources = resources.for_trials(spec.configurations)
    examples = [cell_of(spec, 0, recipe, spec.seeds[0]) for recipe in spec.require_valid()]
    storage.require_writable()
    with storage.locked(shared=True):
        queue = StudyQueue(
            spec,
            storage,
            study_storage,
            retries=resources.retries,
            packing=Packing(pack),
        )
        preflight(examples, storage, data_dir, runs_here=not resources.gpus_per_trial)
        tell_of_networks(examples, data_dir)
        tracker = Tracker(spec.experiment or spec.name, storage, tracking_uri)
        with _services(tracker, queue.cells, resources) as (_, delivery):
            # What waits in Ray has been asked for already, before there were results to learn from,
            # and no other driver can have it; but with nothing waiting, Tune starts no more actors.
            slots = resources.concurrency or resources.slots(alive_nodes())
            progress = Progress(
                queue.cells,
                storage,
                to_run=0,
                stream=sys.stdout,
                quiet=quiet,
                tally=lambda: queue.tally,
            )
            queue.on_finished = progress.say
            with progress:
                _tune(spec.name, queue, storage, data_dir, resources, slots, delivery, progress)


@contextmanager
def _services(
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
            slots = _connect(resources)
            reached.result()
            tracker.storage.share_databases()
            with delivering(tracker, cells) as delivery:
                try:
                    yield slots, delivery
                finally:
                    ray.shutdown()
        finally:
            ray.shutdown()


def _tune(
    name: str,
    queue: TrialQueue,
    storage: Storage,
    data_dir: Path,
    resources: Resources,
    slots: int,
    delivery: Delivery,
    progress: Progress,
) -> None:
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(slots))
    work = Work(
        storage=storage,
        mark=storage.mark(),
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        device="cuda" if resources.gpus_per_trial else "cpu",
        execution=resources.execution,
        modules=users_modules.imported_late(),
    )
    stop = SweepStopper(queue)
    trainable = tune.with_resources(
        tune.with_parameters(Worker, work=work),
        {"cpu": resources.cpus, "gpu": resources.gpus_per_trial},
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


def _packing(
    cells: list[Cell], data_dir: Path, resources: Resources, progress: Progress
) -> Packing:
    """As asked for, or as is fastest."""
    if resources.pack is not None:
        return Packing(resources.pack)
    packing, lines = fastest_packing(
        cells,
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        resources=resources,
    )
    for line in lines:
        progress.say(line)
    return packing


def _connect(resources: Resources) -> int:
    """Start Ray here, or connect to a cluster; how many trials may wait in Ray for a place.

    Raises:
        ConfigurationError: the cluster does not answer, or this machine has too few CPUs or GPUs.
    """
    address = resources.address or os.environ.get("RAY_ADDRESS")  # as set in a submitted job
    if address is None:
        limit = resources.concurrency
        cpus = usable_cpus() if limit is None else max(1, math.ceil(limit * resources.cpus))
        try:
            # Plain None would also take up any cluster that happens to run on this machine.
            _init("local", num_cpus=cpus, include_dashboard=False)
        except Exception as error:  # Ray raises many kinds
            hint = "; a shorter TMPDIR, such as /tmp, helps" if "AF_UNIX" in str(error) else ""
            raise ConfigurationError(
                f"Ray does not start on this machine ({in_full(error)}){hint}"
            ) from error
    else:
        if address.startswith("ray://"):
            raise ConfigurationError(
                f"--address {address}: Ray's client is not supported; give HOST:PORT or auto on a "
                "machine of the cluster, or use `ray job submit`"
            )
        try:
            _require_answer(address)
            _init(address)
        except Exception as error:  # Ray raises many kinds
            raise ConfigurationError(f"--address {address}: {_why_not_connected(error)}") from error
    nodes = alive_nodes()
    available = {kind: max(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    for option, kind, needed in (
        ("--cpus-per-trial", "CPU", resources.cpus),
        ("--gpus-per-trial", "GPU", resources.gpus_per_trial),
    ):
        there = available[kind]
        if needed > there:
            if address is None:
                ray.shutdown()
                raise ConfigurationError(
                    f"{option} {needed:g}: there are {there:g} {kind}s on this machine"
                )
            print(
                f"sweeps: {option} {needed:g}: no machine of the cluster has more than {there:g} "
                f"{kind}s yet; trials wait for one",
                file=sys.stderr,
            )
    return PENDING_TRIALS if address else max(2, int(available["CPU"]))


def _init(address: str, **options: Any) -> None:
    """Let Ray start, or connect, in a way that suits batch jobs and whatever the folder holds.

    Workers look for modules first where Ray's driver stood when it connected; in the user's folder
    that might be a clone of this project, or anything of a name of its packages.
    """
    if paths := os.environ.get("PYTHONPATH"):  # which would be relative to another folder then
        absolute = (os.path.abspath(path) for path in paths.split(os.pathsep) if path)
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)
    with chdir(Path(__file__).parents[1]), signals.blocked_in_children():
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    signals.interrupt_on_signals()  # Ray takes SIGTERM for itself


def _why_not_connected(error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        mode = os.environ.get("RAY_AUTH_MODE")
        hint = "it must be the cluster's own" if mode == "token" else "set RAY_AUTH_MODE=token"
        return f"the Ray cluster does not accept the token, or wants one; {hint}"
    if "mismatch" in str(error):
        return f"the Ray cluster is of other versions ({in_full(error)})"
    hint = "" if "RAY_AUTH_MODE" in os.environ else "; one with a token: RAY_AUTH_MODE=token"
    return f"no Ray cluster ({in_full(error)}){hint}"


def _require_answer(address: str) -> None:
    """Knock at HOST:PORT first, because Ray itself waits for minutes; other forms pass."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _tune_silenced() -> Iterator[None]:
    """Tune prints its banner and a line a trial whatever its verbosity; `Progress` does that here.

    Its errors go to the standard error, and stay.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
