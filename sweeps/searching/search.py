"""A search: configurations are tried until the budget of its study is spent."""

import sys
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.placement.pack_probe import alive_nodes
from sweeps.placement.packing import Packing
from sweeps.placement.resources import Resources
from sweeps.planning.before_training import check_before_training
from sweeps.running.driver import services, train
from sweeps.running.progress import Progress
from sweeps.searching.results import cell_of
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage.folder import Storage
from sweeps.study import StudySpec
from sweeps.tracking.tracker import Tracker


def run_study(
    spec: StudySpec,
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
    if resources.gpus_per_trial is None:
        raise ConfigurationError("--gpus-per-trial auto: a search needs a number, such as 0.25")
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
        check_before_training(examples, storage, data_dir, runs_here=not resources.gpus)
        tracker = Tracker(spec.experiment or spec.name, storage, tracking_uri)
        with services(tracker, queue.cells, resources) as (_, delivery):
            # What waits in Ray has been asked for already, before there were results to learn from,
            # and no other driver can have it; but with nothing waiting, Tune starts no more actors.
            slots = resources.concurrency or resources.slots(alive_nodes())
            progress = Progress(
                queue.cells,
                storage,
                to_run=0,
                stream=sys.stdout,
                quiet=quiet,
                counts=lambda: queue.counts,
            )
            queue.on_finished = progress.log
            with progress:
                train(spec.name, queue, storage, data_dir, resources, slots, delivery, progress)
