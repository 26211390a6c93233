"""Train trials and write their folders, without Ray and MLflow."""

import platform
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from quantlab import ConfigurationError, EpochRecord, Recipe, canonical_json, fingerprint
from quantlab.datasets.content import content_of
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.errors import described
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun, PackEvent
from sweeps.spending.ongoing import UNKNOWN, OngoingAttempts, Reserved
from sweeps.storage.folder import TrialFolder, TrialState
from sweeps.storage.record_files import write_atomically
from sweeps.storage.records import NO_ORIGIN, Origin, Running
from sweeps.storage.source_archive import give, path_of
from sweeps.worker.data.staging import stage
from sweeps.worker.output import output_not_kept
from sweeps.worker.peak_memory import PeakMemory
from sweeps.worker.trial_writer import TrialWriter, record_failure

TRANSIENT = (OSError, torch.AcceleratorError)
"""Errors of disks, networks, data loaders and GPUs, after which a trial is retried in another
process."""

PAUSE_STEPS = 20
"""Gradient steps between two pauses within an epoch."""

EPOCH_SECONDS = 2.0
"""Minimum time between two checkpoints for each trial of a pack. Shorter epochs share a checkpoint,
because training them again costs less than a checkpoint after each."""


def alone(recipe: Recipe, folder: TrialFolder) -> AbstractContextManager[Replicas]:
    """Train in a single process; see `train_trials`."""
    return nullcontext(ALONE)


def run_trial(
    recipe: Recipe,
    folder: TrialFolder,
    *,
    report: Callable[[EpochRecord], None] = lambda record: None,
    **options: Any,
) -> TrialState:
    """Train a trial to its end.

    Args:
        recipe: the recipe to train.
        folder: the folder of the trial.
        report: called after every epoch, when its record has been added to the history.
        options: see `train_trials`.

    Returns:
        The state of the trial.

    Raises:
        Exception: any error of the training; it is recorded as the failure of the trial.
    """
    for events in train_trials([(recipe, folder)], **options):
        for event in events:
            if event.record is not None:
                report(event.record)
    return folder.state()


def train_trials(
    trials: Sequence[tuple[Recipe, TrialFolder]],
    *,
    data_dir: Path,
    scratch: Path | None = None,
    device: str = "cpu",
    execution: Execution = DEFAULT_EXECUTION,
    checkpoint_seconds: float = 60.0,
    together: Callable[[Recipe, TrialFolder], AbstractContextManager[Replicas]] = alone,
    output: Callable[[Sequence[TrialFolder]], AbstractContextManager[Callable[[], None]]] = (
        output_not_kept
    ),
    running: Running | None = None,
    reserved: Reserved = UNKNOWN,
    leave: Callable[[TrialFolder], object] = lambda folder: None,
    weights_of: Callable[[str], Path] | None = None,
) -> Generator[Sequence[PackEvent], None, None]:
    """Train trials as one pack, each from its last checkpoint if there is one.

    Checkpoints are saved at the end of an epoch, but at most one in `EPOCH_SECONDS` for each trial
    of the pack. Finished trials are not trained again; a diverged trial is finished, because
    divergence is a result of its configuration. Trials that another process trains are left to it.
    Closing the iterator at a pause saves checkpoints.

    Args:
        trials: recipes, which must be compatible with one pack (see
            `quantlab.packs.compatibility`), and the folders of the trials, which are created if
            necessary.
        data_dir: folder of the datasets.
        scratch: a folder on the local disk; see `staging.stage`.
        device: a torch device.
        execution: how to compute the trials.
        checkpoint_seconds: maximum time between two checkpoints within an epoch.
        together: starts the other processes that train a trial with this one, which leads; for a
            single trial only.
        output: keeps what this process prints, see `sweeps.worker.output.output_kept`.
        running: the command that trains the trials, which others can read meanwhile; None for none.
        reserved: what is reserved for the pack, which is recorded.
        leave: called with each trial that is left to another process.
        weights_of: returns the file with the network of another trial by its fingerprint; None for
            that in the storage of the trials.

    Yields:
        The events of an epoch, whose members are positions in `trials`, when they have been written
        to the histories; an empty sequence at a pause within an epoch.

    Raises:
        Exception: any error of the training; the error of a single trial is recorded as its
            failure.
    """
    with ExitStack() as locks:
        places = []
        for place, (_, folder) in enumerate(trials):
            folder.make()
            # Of another command, or of a worker that has lived longer than its driver.
            if (lock := folder.locked_at_once()) is None:
                leave(folder)
                continue
            locks.enter_context(lock)
            if not folder.is_done():
                places.append(place)
        if not places:
            return
        attempts = OngoingAttempts((trials[place][1] for place in places), running, reserved)
        own = [trials[place] for place in places]
        for _, folder in own:
            locks.callback(folder.running.remove)
        locks.callback(attempts.stop)  # first: a process that dies meanwhile has one record or both
        for _, folder in own:
            folder.clear()
        attempts.show()
        for recipe, folder in own:
            if running is not None:
                give(path_of(folder.path.parents[1], running.sources), folder.sources)
            write_atomically(folder.recipe, canonical_json(recipe) + "\n")
        try:
            with output([folder for _, folder in own]) as keep:
                for recipe, folder in own:
                    _require_same_code(recipe, folder)
                    here = stage(recipe, data_dir, scratch)
                with (
                    together(*trials[places[0]]) as replicas,
                    closing(
                        _train(
                            {place: trials[place] for place in places},
                            here,
                            device,
                            execution,
                            checkpoint_seconds,
                            replicas,
                            running or NO_ORIGIN,
                            attempts,
                            weights_of or _networks_beside(trials[places[0]][1]),
                        )
                    ) as training,
                ):
                    for events in training:
                        keep()
                        yield events
        except Exception as error:
            attempts.stop(failed=True)
            if len(trials) == 1:
                with suppress(OSError):  # the disk may be full
                    record_failure(
                        trials[0][1],
                        described(error),
                        traceback.format_exc(),
                        device,
                        execution,
                        running or NO_ORIGIN,
                        is_transient=isinstance(error, TRANSIENT),
                    )
            raise


def _require_same_code(recipe: Recipe, folder: TrialFolder) -> None:
    """Refuse to train if a class of the recipe has other code here than on the driver's machine."""
    if (own := fingerprint(recipe)) != folder.fingerprint:
        raise ConfigurationError(
            f"trial {folder.fingerprint}: its fingerprint is {own} on {platform.node()}, because "
            "the code of a class differs there; install the same code on all machines"
        )


def _networks_beside(folder: TrialFolder) -> Callable[[str], Path]:
    return lambda other: folder.sibling(other).intact_weights()


def _train(
    trials: Mapping[int, tuple[Recipe, TrialFolder]],
    data_dir: Path,
    device: str,
    execution: Execution,
    checkpoint_seconds: float,
    replicas: Replicas,
    origin: Origin,
    attempts: OngoingAttempts,
    weights_of: Callable[[str], Path],
) -> Generator[Sequence[PackEvent], None, None]:
    torch.set_num_threads(execution.threads)
    places = list(trials)
    peak = PeakMemory(device)
    pack = PackedRun(
        [recipe for recipe, _ in trials.values()],
        data_dir=data_dir,
        device=device,
        execution=execution,
        weights_of=weights_of,
        replicas=replicas,
    )
    contents: dict[int, str] = {}  # images that members share are hashed once
    for run in pack.members:
        if id(run.splits) not in contents:
            contents[id(run.splits)] = content_of(run.recipe.dataset, data_dir, run.splits)
    members = [folder.fingerprint for _, folder in trials.values()]
    writers = [
        TrialWriter(
            run,
            folder,
            device,
            execution,
            members,
            contents[id(run.splits)],
            origin,
            attempts,
            peak,
        )
        for run, (_, folder) in zip(pack.members, trials.values(), strict=True)
    ]

    def save() -> None:
        for writer in writers:
            writer.save()

    saved = time.monotonic()
    with closing(pack.train(pause_steps=PAUSE_STEPS)) as training:
        for events in training:
            for event in events:
                if event.record is not None:
                    writers[event.member].write(event.record)
                elif event.error is not None:
                    writers[event.member].diverge(event.error)
            due = checkpoint_seconds
            if events and execution.workers:
                peak.look()
            if events:
                due = min(due, EPOCH_SECONDS * len(writers))
            is_saved = time.monotonic() - saved >= due
            if is_saved:
                save()
                saved = time.monotonic()
            try:
                yield [replace(event, member=places[event.member]) for event in events]
            except GeneratorExit:
                if not is_saved:
                    save()
                raise
    for writer in writers:
        if not writer.is_over:
            writer.complete()
