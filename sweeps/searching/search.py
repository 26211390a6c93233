"""Run a search: evaluate configurations until the budget of the study is spent."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.archive.archive import Archive
from sweeps.archive.taking import Taking, take_finished
from sweeps.connecting.ray_cluster import cluster_address
from sweeps.connecting.services import services
from sweeps.control.listener import Ending, listening
from sweeps.control.steering import UNSTEERED, Steering
from sweeps.coordinates import main_metric
from sweeps.evaluation.variants import Variant
from sweeps.inventory.known_sweeps import STUDY, remember_study, require_free_name
from sweeps.placement.needs import Needs, named_cpus
from sweeps.placement.pack_probe import alive_nodes
from sweeps.placement.packing import Packing
from sweeps.placement.resources import Resources
from sweeps.placement.trial_memory import TrialMemory
from sweeps.planning.before_training import check_before_training
from sweeps.running import users_modules
from sweeps.searching.results import cell_of
from sweeps.searching.study_queue import StudyQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.records import NO_ORIGIN, Origin
from sweeps.study import StudySpec
from sweeps.watching.progress import Progress


def run_study(
    spec: StudySpec,
    storage: Storage,
    *,
    study_storage: str | None,
    tracking_uri: str | None,
    data_dir: Path,
    resources: Resources,
    source: str = "",
    quiet: bool = False,
    origin: Origin = NO_ORIGIN,
    archive: Archive | None = None,
    steering: Steering = UNSTEERED,
) -> Ending | None:
    """Evaluate configurations until the study's budget is spent; several drivers may share it.

    Args:
        spec: the study.
        storage: the folder of the trials, the same for all drivers.
        study_storage: URL of Optuna's storage; None for a SQLite file in `storage`.
        tracking_uri: URI of the MLflow server; None for the environment's, or the embedded one.
        data_dir: the folder of the datasets.
        resources: what a trial may use, and how many are trained at once.
        source: name of the study, or the path of its file, as the user gave it.
        quiet: print no progress.
        origin: the command, which is recorded with each trial.
        archive: where finished trials are taken from and written to; None for no archive.
        steering: the budget and notices.

    Returns:
        Why the budget of configurations is not spent, although nothing is wrong; None if it is.

    Raises:
        ConfigurationError: see `StudySpec.require_valid`, `require_free_name`, `preflight` and
            `Tracker`, which run before anything is trained; or the sampler, the pruner or a
            database failed meanwhile.
        KeyboardInterrupt: the user stopped the search; every trial keeps its last checkpoint.
    """
    if resources.pack is None:
        raise ConfigurationError("--pack auto: a search needs a number, such as --pack 4")
    if resources.gpus_per_trial is None:
        raise ConfigurationError(
            "--gpus-per-trial auto: a search needs a number, such as --gpus-per-trial 0.25"
        )
    pack = resources.pack
    examples = [
        cell_of(spec, 0, Variant({}, recipe), spec.seeds[0]) for recipe in spec.require_valid()
    ]
    resources = resources.for_trials(spec.configurations, named_cpus(examples))
    storage.require_writable()
    require_free_name(spec.name, STUDY, storage)
    with (
        storage.locked(shared=True),
        listening(storage, spec.name, origin) as listener,
        closing(
            StudyQueue(
                spec,
                storage,
                study_storage,
                retries=resources.retries,
                packing=Packing(pack),
            )
        ) as queue,
        ExitStack() as stack,
    ):
        check_before_training(
            examples,
            storage,
            data_dir,
            runs_here=not resources.gpus,
            replicas=resources.execution.replicas,
        )
        spec.require_values((cell.recipe for cell in examples), data_dir)
        if archive is not None:
            take_finished(archive, queue.cells, storage)
            queue.take = Taking(archive, storage)
        steering.limit(
            listener, lambda: queue.cells, storage, counts_gpus=resources.gpus_per_trial != 0
        )
        if listener.ending is not None:
            return listener.ending
        queue.stop_left_over()
        keep_recorded(queue, source, storage)
        stack.callback(_record, queue, source, storage)
        experiment = spec.experiment or spec.name
        metric = main_metric(examples)
        with services(
            experiment,
            storage,
            tracking_uri,
            metric,
            queue.cells,
            resources,
            spec.configurations,
            archive,
            cells_at_end=lambda: queue.cells,
        ) as (_, delivery, agreement):
            from sweeps.running.driver import train  # imports Ray Tune and MLflow

            users_modules.send_along()
            # A configuration that waits in Ray was sampled before the latest results, and no other
            # driver can take it. But with nothing waiting, Tune would start no further actors.
            slots = resources.concurrency or resources.slots(alive_nodes())
            memory = TrialMemory(resources.memory_per_trial or 0.0)
            needs = Needs(resources, memory, slots=slots)
            progress = Progress(
                queue.cells,
                storage,
                to_run=0,
                stream=sys.stdout,
                quiet=quiet,
                counts=lambda: queue.counts,
            )
            queue.on_finished = progress.log
            queue.on_dropped = delivery.announce
            queue.on_failed = lambda cell: steering.tell_failure(cell, storage)
            with progress:
                is_fixed = cluster_address(resources) is None
                for line in needs.require_room(examples, is_fixed=is_fixed):
                    progress.log(f"warning: {line}")
                needs.settle(resources, queue.cells, storage, limit=resources.concurrency)
                try:
                    return train(
                        spec.name,
                        queue,
                        storage,
                        data_dir,
                        needs,
                        delivery,
                        progress,
                        origin,
                        listener,
                        agreement,
                    )
                finally:
                    queue.stop_unneeded()


def keep_recorded(queue: StudyQueue, source: str, storage: Storage) -> None:
    """Record the trials of a study in the storage, and each further one before it is trained.

    If the search is killed, `sweeps rm --orphans` would otherwise remove them: the storage of
    Optuna may be a server, which that command does not know.
    """
    _record(queue, source, storage)

    def record_also(cells: Sequence[Cell]) -> None:
        with suppress(ConfigurationError, OSError):
            remember_study(queue.spec.name, source, cells, storage, are_all=False)

    queue.on_seed = record_also


def _record(queue: StudyQueue, source: str, storage: Storage) -> None:
    """Record the trials of a study in the storage, or leave that to the next search."""
    with suppress(ConfigurationError, OSError):
        remember_study(queue.spec.name, source, queue.cells, storage)
