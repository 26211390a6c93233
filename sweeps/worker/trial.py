"""What a worker does for its trials. It knows folders, and nothing of Ray or MLflow."""

import hashlib
import json
import math
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from quantlab import (
    ConfigurationError,
    EpochRecord,
    NonFiniteLossError,
    Recipe,
    TrainingRun,
    canonical_json,
    fingerprint,
)
from quantlab.datasets.content import content_of
from quantlab.errors import described
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun, PackEvent
from quantlab.training.checkpoint import (
    load_last_good,
    remove_checkpoints,
    save_atomically,
    save_checkpoint,
)
from sweeps.storage.folder import TrialFolder, TrialState
from sweeps.storage.provenance import git_commit, package_versions
from sweeps.storage.record_files import write_atomically
from sweeps.storage.records import Computed, Epoch, Failure, Result
from sweeps.worker.staging import stage

PAUSE_STEPS = 20
"""Within an epoch, the clock is looked at after so many gradient steps."""

EPOCH_SECONDS = 2.0
"""Epochs that are shorter share a checkpoint: training them again costs less than saving each. In a
pack, which saves one for each of its trials, so many times as long."""


def run_trial(
    recipe: Recipe,
    folder: TrialFolder,
    *,
    report: Callable[[EpochRecord], None] = lambda record: None,
    **options: Any,
) -> TrialState:
    """Train a trial to its end, in one go.

    Args:
        recipe: what to train.
        folder: the trial's files.
        report: called after every epoch, once its record is in the trial's history.
        options: see `train_trials`.

    Raises:
        Exception: whatever broke; it is recorded as the trial's failure first.
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
) -> Generator[Sequence[PackEvent], None, None]:
    """Train trials as one pack, each from its last checkpoint if there is one, with pauses.

    Checkpoints are written at the end of an epoch, but not more often than every `EPOCH_SECONDS`
    for each trial of the pack.
    Finished trials are left as they are. A diverged one is finished: that is a result of its
    configuration. Whoever closes the iterator at a pause leaves checkpoints of that moment.

    Args:
        trials: recipes, which must fit into one pack (see `quantlab.packs.compatibility`), and the
            trials' files, which are made if need be.
        data_dir: where datasets lie.
        scratch: a folder on this machine's own disk to read data from; see `staging.stage`.
        device: a torch device.
        execution: how to compute it.
        checkpoint_seconds: within an epoch, save at the first pause after so many seconds.

    Yields:
        What trials (by their place in `trials`) have come to, once it is in their histories;
        nothing at pauses.

    Raises:
        Exception: whatever broke. Of a trial alone, it is recorded as its failure first.
    """
    with ExitStack() as locks:
        for _, folder in sorted(trials, key=lambda trial: trial[1].fingerprint):
            folder.make()
            locks.enter_context(folder.locked())  # a worker may outlive its driver by seconds
        places = [place for place, (_, folder) in enumerate(trials) if not folder.is_done()]
        if not places:
            return
        for recipe, folder in (trials[place] for place in places):
            folder.clear()
            write_atomically(folder.recipe, canonical_json(recipe) + "\n")
        try:
            for recipe, folder in (trials[place] for place in places):
                _require_same_code(recipe, folder)
                here = stage(recipe, data_dir, scratch)
            yield from _train(
                {place: trials[place] for place in places},
                here,
                device,
                execution,
                checkpoint_seconds,
            )
        except Exception as error:
            if len(trials) == 1:
                with suppress(OSError):  # a full disk has no room for that either
                    record_failure(
                        trials[0][1],
                        described(error),
                        traceback.format_exc(),
                        device,
                        execution,
                    )
            raise


def _require_same_code(recipe: Recipe, folder: TrialFolder) -> None:
    """A class that the worker has from its own files may be another one than the driver's."""
    if (own := fingerprint(recipe)) != folder.fingerprint:
        raise ConfigurationError(
            f"trial {folder.fingerprint}: is {own} on {platform.node()}, which has other code of a "
            "class that the trial uses; bring all machines to the same code"
        )


def record_failure(
    folder: TrialFolder,
    error: str,
    traceback: str = "",
    device: str = "",
    execution: Execution = DEFAULT_EXECUTION,
) -> None:
    """Write down that a trial's last attempt failed, and why.

    Args:
        folder: the trial's files.
        error: in one line, for people.
        traceback: Python's own, if there is one.
        device: what it ran on; empty if it did not come so far.
        execution: how it was computed.
    """
    folder.make()
    where = _where(device, execution)
    failure = Failure(error=error, traceback=traceback, time=time.time(), **asdict(where))
    folder.failure.write(failure)


class _Log:
    """What a trial that is being trained leaves in its folder."""

    def __init__(
        self,
        run: TrainingRun,
        folder: TrialFolder,
        device: str,
        execution: Execution,
        pack: int,
        data_content: str,
    ) -> None:
        """Go on from the last good checkpoint, in a pack of some size."""
        self._run = run
        self._folder = folder
        self._where = _where(device, execution)
        self._pack = pack
        self._data_content = data_content
        self._warning = ""
        self.is_over = False
        state_dict, refused = load_last_good(
            folder.checkpoint,
            fingerprint=folder.fingerprint,
            most_epochs=folder.read_history().leading,
        )
        warned = []
        if state_dict is not None:
            run.load_state_dict(state_dict)
            if not all(execution.rounds_like(other) for other in run.executions):
                warned.append(
                    f"computed with execution {' and then '.join(map(str, run.executions))}: not "
                    "bit-identical to a run without interruption"
                )
            before = {epoch.data_content for epoch in folder.read_history()[: run.epoch]}
            if others := before - {data_content, ""}:
                warned.append(
                    f"the data has changed during training: {', '.join(sorted(others))}, and now "
                    f"{data_content}"
                )
        if refused:
            anew = state_dict is None
            went_on = "the trial started anew" if anew else "the one before it was used"
            warned.append(f"{'; '.join(refused)}; {went_on}")
        if warned:
            # A worker's warning is seen by nobody, so it stands in the result as well.
            self._warning = "; ".join(warned)
            warnings.warn(self._warning, stacklevel=2)
        folder.rewind_history(run.epoch)

    def write(self, record: EpochRecord) -> None:
        values = {item.name: getattr(record, item.name) for item in fields(record)}
        self._folder.append_history(
            Epoch(**values, time=time.time(), data_content=self._data_content)
        )

    def save(self) -> None:
        if not self.is_over:
            save_checkpoint(
                self._folder.checkpoint,
                self._run.state_dict(),
                fingerprint=self._folder.fingerprint,
            )

    def complete(self) -> None:
        """Evaluate the finished network."""
        try:
            outcome = self._run.outcome()
        except NonFiniteLossError as error:
            self.diverge(error)
            return
        save_atomically(self._folder.weights, self._run.final_weights())
        with self._folder.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        values = asdict(outcome)
        if math.isnan(outcome.validation_accuracy):  # of no images
            values["validation_accuracy"] = None
        self._close(state=TrialState.COMPLETE, **values, weights_sha256=digest)

    def diverge(self, error: NonFiniteLossError) -> None:
        last = error.last_finite_loss
        self._close(
            state=TrialState.DIVERGED,
            error=str(error),
            epochs=self._run.epoch,
            steps=error.step,
            last_finite_loss=None if math.isnan(last) else last,
        )

    def _close(self, **details: Any) -> None:
        self._folder.result.write(
            Result(
                time=time.time(),
                warning=self._warning,
                pack=self._pack,
                data_content=self._data_content,
                **details,
                **asdict(self._where),
            )
        )
        remove_checkpoints(self._folder.checkpoint)
        self.is_over = True


def _train(
    trials: Mapping[int, tuple[Recipe, TrialFolder]],
    data_dir: Path,
    device: str,
    execution: Execution,
    checkpoint_seconds: float,
) -> Generator[Sequence[PackEvent], None, None]:
    torch.set_num_threads(execution.threads)
    places = list(trials)
    folder = trials[places[0]][1]
    pack = PackedRun(
        [recipe for recipe, _ in trials.values()],
        data_dir=data_dir,
        device=device,
        execution=execution,
        weights_of=lambda fingerprint: folder.sibling(fingerprint).intact_weights(),
    )
    contents: dict[int, str] = {}  # members that share their images are looked at once
    for run in pack.members:
        if id(run.splits) not in contents:
            contents[id(run.splits)] = content_of(run.recipe.dataset, data_dir, run.splits)
    logs = [
        _Log(run, folder, device, execution, len(trials), contents[id(run.splits)])
        for run, (_, folder) in zip(pack.members, trials.values(), strict=True)
    ]

    def save() -> None:
        for log in logs:
            log.save()

    saved = time.monotonic()
    for events in pack.train(pause_steps=PAUSE_STEPS):
        for event in events:
            if event.record is not None:
                logs[event.member].write(event.record)
            elif event.error is not None:
                logs[event.member].diverge(event.error)
        due = checkpoint_seconds
        if events:
            due = min(due, EPOCH_SECONDS * len(logs))
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
    for log in logs:
        if not log.is_over:
            log.complete()


def _where(device: str, execution: Execution) -> Computed:
    name = platform.machine()
    if device.startswith("cuda"):
        # This also runs while a failure is recorded, which may be that there is no such device.
        name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "not available"
    return Computed(
        device=f"{device} ({name})",
        execution=str(execution),
        host=platform.node(),
        git_commit=git_commit(),
        packages=json.dumps(package_versions()),
    )
