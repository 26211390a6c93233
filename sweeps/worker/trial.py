"""Train trials and write their folders, without Ray and MLflow."""

import hashlib
import json
import math
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    nullcontext,
    suppress,
)
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
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.errors import described
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.export.network import network_file
from quantlab.packs.run import PackedRun, PackEvent
from quantlab.tasks.dimensions import Dimensions
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
) -> Generator[Sequence[PackEvent], None, None]:
    """Train trials as one pack, each from its last checkpoint if there is one.

    Checkpoints are saved at the end of an epoch, but at most one in `EPOCH_SECONDS` for each trial
    of the pack. Finished trials are not trained again; a diverged trial is finished, because
    divergence is a result of its configuration. Closing the iterator at a pause saves checkpoints.

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

    Yields:
        The events of an epoch, whose members are positions in `trials`, when they have been written
        to the histories; an empty sequence at a pause within an epoch.

    Raises:
        Exception: any error of the training; the error of a single trial is recorded as its
            failure.
    """
    with ExitStack() as locks:
        for _, folder in sorted(trials, key=lambda trial: trial[1].fingerprint):
            folder.make()
            locks.enter_context(folder.locked())  # a worker may live longer than its driver
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
            with together(*trials[places[0]]) as replicas:
                yield from _train(
                    {place: trials[place] for place in places},
                    here,
                    device,
                    execution,
                    checkpoint_seconds,
                    replicas,
                )
        except Exception as error:
            if len(trials) == 1:
                with suppress(OSError):  # the disk may be full
                    record_failure(
                        trials[0][1],
                        described(error),
                        traceback.format_exc(),
                        device,
                        execution,
                    )
            raise


def _require_same_code(recipe: Recipe, folder: TrialFolder) -> None:
    """Refuse to train if a class of the recipe has other code here than on the driver's machine."""
    if (own := fingerprint(recipe)) != folder.fingerprint:
        raise ConfigurationError(
            f"trial {folder.fingerprint}: its fingerprint is {own} on {platform.node()}, because "
            "the code of a class differs there; install the same code on all machines"
        )


def record_failure(
    folder: TrialFolder,
    error: str,
    traceback: str = "",
    device: str = "",
    execution: Execution = DEFAULT_EXECUTION,
) -> None:
    """Write the reason for which the last attempt of a trial failed to its folder.

    Args:
        folder: the folder of the trial.
        error: the reason in one line.
        traceback: the traceback of Python, if there is one.
        device: the device on which the trial ran; empty if it had not started.
        execution: how the trial was computed.
    """
    folder.make()
    where = _where(device, execution)
    failure = Failure(error=error, traceback=traceback, time=time.time(), **asdict(where))
    folder.failure.write(failure)


class _Log:
    """Writes the history, checkpoints and result of a trial while it is trained."""

    def __init__(
        self,
        run: TrainingRun,
        folder: TrialFolder,
        device: str,
        execution: Execution,
        pack: int,
        data_content: str,
    ) -> None:
        """Load the last intact checkpoint into the run, and cut the history to its epoch.

        Args:
            run: the training of the trial.
            folder: the folder of the trial.
            device: a torch device.
            execution: how the trial is computed.
            pack: number of trials in the pack.
            data_content: hash of the dataset.
        """
        self._run = run
        self._folder = folder
        self._where = _where(device, execution, *run.recipe.model.packages)
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
                    "the result is not bit-identical to that of an uninterrupted run, because it "
                    f"was computed with execution {' and then '.join(map(str, run.executions))}"
                )
            if run.had_other_teacher:
                warned.append("the network of the teacher has changed during training")
            before = {epoch.data_content for epoch in folder.read_history()[: run.epoch]}
            if others := before - {data_content, ""}:
                warned.append(
                    f"the data has changed during training from {', '.join(sorted(others))} to "
                    f"{data_content}"
                )
        if refused:
            restarted = state_dict is None
            remedy = "the trial was restarted" if restarted else "the previous one was used"
            warned.append(f"{'; '.join(refused)}; {remedy}")
        if warned:
            # Nobody sees the warnings of a worker, so the result has them too.
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
        """Evaluate the finished network, and write its weights and the result."""
        try:
            outcome = self._run.outcome()
        except NonFiniteLossError as error:
            self.diverge(error)
            return
        weights = self._run.final_weights()
        save_atomically(self._folder.weights, weights)
        with self._folder.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        values = asdict(outcome) | _sizes(self._run.recipe, weights, outcome.dimensions)
        values["dimensions"] = outcome.dimensions.to_json()
        if not len(self._run.splits.validation):
            values["validation"] = {}
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


def _sizes(
    recipe: Recipe, weights: Mapping[str, torch.Tensor], dimensions: Dimensions
) -> dict[str, Any]:
    """Return the fields of a result that describe the exported network."""
    try:
        file = network_file(recipe, weights, dimensions=dimensions)
        size = len(file.to_bytes())
    except ConfigurationError:  # the network has state that no file can have
        return {}
    return {
        "file_bytes": size,
        "code_bits": file.code_bits,
        "compression": file.full_bytes / size,
    }


def _train(
    trials: Mapping[int, tuple[Recipe, TrialFolder]],
    data_dir: Path,
    device: str,
    execution: Execution,
    checkpoint_seconds: float,
    replicas: Replicas,
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
        replicas=replicas,
    )
    contents: dict[int, str] = {}  # images that members share are hashed once
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
    with closing(pack.train(pause_steps=PAUSE_STEPS)) as training:
        for events in training:
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


def _where(device: str, execution: Execution, *packages: str) -> Computed:
    name = platform.machine()
    if device.startswith("cuda"):
        # The failure that is being recorded may be that the device does not exist.
        name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "not available"
    return Computed(
        device=f"{device} ({name})",
        execution=str(execution),
        host=platform.node(),
        git_commit=git_commit(),
        packages=json.dumps(package_versions(*packages)),
    )
