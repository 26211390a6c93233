"""Train the unfinished trials of a sweep."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.archive.archive import Archive
from sweeps.connecting.ray_cluster import cluster_address
from sweeps.connecting.services import services
from sweeps.control.listener import Ending, Listener, listening
from sweeps.control.priorities import priorities_of
from sweeps.control.steering import UNSTEERED, Steering
from sweeps.coordinates import main_metric
from sweeps.inventory.known_sweeps import remember_sweep
from sweeps.placement.gpu_probe import shared_gpus
from sweeps.placement.needs import Needs, named_cpus
from sweeps.placement.pack_probe import alive_nodes, fastest_packing
from sweeps.placement.packing import Packing, kind_of
from sweeps.placement.resources import Resources, places_of_nodes
from sweeps.placement.trial_memory import TrialMemory
from sweeps.planning.before_training import check_before_training
from sweeps.running import users_modules
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.records import NO_ORIGIN, Origin
from sweeps.watching.progress import Progress


def run_cells(
    sweep: SweepSpec,
    cells: list[Cell],
    storage: Storage,
    *,
    tracking_uri: str | None,
    data_dir: Path,
    resources: Resources,
    source: str = "",
    quiet: bool = False,
    origin: Origin = NO_ORIGIN,
    archive: Archive | None = None,
    steering: Steering = UNSTEERED,
    listener: Listener | None = None,
) -> Ending | None:
    """Train the given cells, and write their results to the trial folders.

    Args:
        sweep: the sweep.
        cells: its unfinished cells.
        storage: the storage of the trials.
        tracking_uri: the MLflow server; None for that of the environment or of the storage.
        data_dir: folder of the datasets.
        resources: the resources of each trial.
        source: name of the sweep, or the path of its file, as the user gave it; empty if neither
            loads these trials.
        quiet: whether to print no progress.
        origin: the command, which is recorded with each trial.
        archive: where finished trials are written; None for no archive.
        steering: the budget, the order of the trials, and notices.
        listener: listens to requests, also before and after this call; None for one of this call.

    Returns:
        Why some cells have not ended, although nothing is wrong; None if all have.

    Raises:
        ConfigurationError: the input is invalid, and nothing was trained; see `priorities_of`,
            `preflight`, `Storage.locked`, `Tracker` and `train`.
        KeyboardInterrupt: the user stopped the sweep; every trial keeps its last checkpoint.
    """
    resources = resources.for_trials(len(cells), named_cpus(cells))
    priorities = priorities_of(sweep, cells, steering.first)
    storage.require_writable()
    listens = listening(storage, sweep.name, origin) if listener is None else nullcontext(listener)
    with storage.locked(shared=True), listens as listener:
        steering.limit(
            listener,
            lambda: sweep.cells,
            storage,
            counts_gpus=resources.gpus_per_trial != 0,
        )
        if listener.ending is not None:
            return listener.ending
        check_before_training(
            cells,
            storage,
            data_dir,
            runs_here=resources.gpus_per_trial == 0,
            replicas=resources.execution.replicas,
        )
        remember_sweep(sweep, source, storage)
        experiment = sweep.experiment or sweep.name
        metric = main_metric(sweep.cells)
        with services(
            experiment, storage, tracking_uri, metric, sweep.cells, resources, len(cells), archive
        ) as (slots, delivery, agreement):
            from sweeps.running.driver import train  # imports Ray Tune and MLflow

            users_modules.send_along()
            progress = Progress(
                sweep.cells,
                storage,
                to_run=len(cells),
                outside=steering.outside,
                stream=sys.stdout,
                quiet=quiet,
            )
            with progress:
                needs = Needs(
                    resources,
                    TrialMemory(resources.memory_per_trial or 0.0),
                    kinds=len(set(map(kind_of, cells))),
                    slots=slots,
                )
                is_fixed = cluster_address(resources) is None
                for line in needs.require_room(cells, is_fixed=is_fixed):
                    progress.log(f"warning: {line}")
                settled, packing = _settled(cells, data_dir, resources, progress)
                if resources.gpus_per_trial is None and not settled.gpus:
                    # It has turned out that there is no GPU whose time could be counted.
                    steering.limit(listener, lambda: sweep.cells, storage, counts_gpus=False)
                resources = settled
                to_run = {cell.fingerprint for cell in cells}
                others = [cell for cell in sweep.cells if cell.fingerprint not in to_run]
                needs.settle(resources, others, storage, limit=_limit(resources, cells))
                for line in needs.limits_of_memory(cells):
                    progress.log(line)
                queue = CellQueue(
                    cells,
                    storage,
                    retries=resources.retries,
                    names={cell.fingerprint: cell.name for cell in sweep.cells},
                    packing=packing,
                    priorities=priorities,
                    room=needs.room,
                )
                queue.on_failed = lambda cell: steering.tell_failure(cell, storage)
                for cell in queue.failed_at_once:
                    progress.ended(cell, TrialState.FAILED)
                    queue.on_failed(cell)
                return train(
                    sweep.name,
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


def _limit(resources: Resources, cells: Sequence[Cell] = ()) -> int | None:
    """Return how many trials Tune may start at once; None if this machine has room for no more.

    Tune keeps a worker for another trial only if one is pending. Within a limit, none is pending
    when a trial ends, so that workers end whose trials end at the same time.
    """
    limit = resources.concurrency
    if limit is None or cluster_address(resources) is not None:  # which may add machines later
        return limit
    needs = Needs(resources, TrialMemory())
    kinds = {kind_of(cell): cell for cell in cells}
    bundles = [needs.bundles([cell])[0] for cell in kinds.values()] or resources.bundles
    cpus, gpus = (min(bundle[kind] for bundle in bundles) for kind in ("CPU", "GPU"))
    places = places_of_nodes(alive_nodes(), cpus=cpus, gpus=gpus)
    return limit if sum(places) // resources.execution.replicas > limit else None


def _settled(
    cells: list[Cell], data_dir: Path, resources: Resources, progress: Progress
) -> tuple[Resources, Packing]:
    """Determine the share of a GPU and the packs, as given or as measured.

    Packs are measured first, with a whole GPU.
    """
    if resources.gpus_per_trial is not None:
        return resources, _packing(cells, data_dir, resources, progress)
    nodes = alive_nodes()
    whole = replace(resources, gpus_per_trial=float(any(node.get("GPU") for node in nodes)))
    if not whole.gpus:
        if cluster_address(resources) is not None:  # which may add machines with GPUs later
            raise ConfigurationError(
                "--gpus-per-trial auto: no machine of the cluster has a GPU now, so that nothing "
                "can be measured; give a number, such as 1"
            )
        progress.log("--gpus-per-trial auto: this machine has no GPU, so trials run on CPUs")
    packing = _packing(cells, data_dir, whole, progress)
    if not whole.gpus:
        return whole, packing
    shared, lines = shared_gpus(
        cells,
        packing,
        nodes,
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        resources=whole,
    )
    for line in lines:
        progress.log(line)
    return shared, packing.for_slots(shared.slots(nodes))


def _packing(
    cells: list[Cell], data_dir: Path, resources: Resources, progress: Progress
) -> Packing:
    """Return packs of the given size, or of the fastest size."""
    if resources.pack is not None:
        return Packing(resources.pack)
    packing, lines = fastest_packing(
        cells,
        data_dir=data_dir.absolute(),
        scratch=resources.scratch and resources.scratch.absolute(),
        resources=resources,
    )
    for line in lines:
        progress.log(line)
    return packing
