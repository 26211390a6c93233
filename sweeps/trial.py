"""What a worker does for one trial. It knows folders, and nothing of Ray or MLflow."""

import json
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import torch

from quantlab import (
    EpochRecord,
    NonFiniteLossError,
    Recipe,
    TrainingRun,
    canonical_json,
)
from quantlab.checkpoint import (
    load_last_good,
    remove_checkpoints,
    save_atomically,
    save_checkpoint,
)
from quantlab.execution import DEFAULT_EXECUTION, Execution
from sweeps.provenance import git_commit, package_versions
from sweeps.staging import stage
from sweeps.storage import TrialFolder, TrialState, write_atomically

PAUSE_STEPS = 20
"""Within an epoch, the clock is looked at after so many gradient steps."""

EPOCH_SECONDS = 2.0
"""Epochs that are shorter share a checkpoint: training them again costs less than saving each."""


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
        options: see `train_trial`.

    Raises:
        Exception: whatever broke; it is recorded as the trial's failure first.
    """
    for record in train_trial(recipe, folder, **options):
        if record is not None:
            report(record)
    return folder.state()


def train_trial(
    recipe: Recipe,
    folder: TrialFolder,
    *,
    data_dir: Path,
    scratch: Path | None = None,
    device: str = "cpu",
    execution: Execution = DEFAULT_EXECUTION,
    checkpoint_seconds: float = 60.0,
) -> Generator[EpochRecord | None, None, None]:
    """Train a trial, from its last checkpoint if there is one, with pauses.

    A checkpoint is written at the end of an epoch, but not more often than every `EPOCH_SECONDS`.
    A finished trial is left as it is. A diverged one is finished: that is a result of its
    configuration. Whoever closes the iterator at a pause leaves a checkpoint of that moment.

    Args:
        recipe: what to train.
        folder: the trial's files; made if need be.
        data_dir: where datasets lie.
        scratch: a folder on this machine's own disk to read data from; see `staging.stage`.
        device: a torch device.
        execution: how to compute it.
        checkpoint_seconds: within an epoch, save at the first pause after so many seconds.

    Yields:
        The record of every epoch, once it is in the trial's history, and None at pauses.

    Raises:
        Exception: whatever broke; it is recorded as the trial's failure first.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.locked():  # a worker may outlive its driver by seconds
        if folder.state().is_finished:
            return
        write_atomically(folder.recipe, canonical_json(recipe) + "\n")
        folder.failure.unlink(missing_ok=True)
        try:
            data_dir = stage(recipe, data_dir, scratch)
            yield from _train(recipe, folder, data_dir, device, execution, checkpoint_seconds)
        except Exception as error:
            record_failure(
                folder,
                f"{type(error).__name__}: {error}",
                traceback.format_exc(),
                device,
                execution,
            )
            raise


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
    folder.path.mkdir(parents=True, exist_ok=True)
    content = {"error": error, "traceback": traceback, "time": time.time()}
    folder.write(folder.failure, {**content, **_where(device, execution)})


def _train(
    recipe: Recipe,
    folder: TrialFolder,
    data_dir: Path,
    device: str,
    execution: Execution,
    checkpoint_seconds: float,
) -> Generator[EpochRecord | None, None, None]:
    torch.set_num_threads(execution.threads)
    run = TrainingRun(
        recipe,
        data_dir=data_dir,
        device=device,
        execution=execution,
        weights_of=lambda fingerprint: folder.sibling(fingerprint).weights,
    )
    notes: dict[str, str] = {}
    details: dict[str, Any] = {}
    state_dict, refused = load_last_good(folder.checkpoint, fingerprint=folder.fingerprint)
    warned = []
    if state_dict is not None:
        run.load_state_dict(state_dict)
        if not all(execution.rounds_like(other) for other in run.executions):
            warned.append(
                f"computed with execution {' and then '.join(map(str, run.executions))}: not "
                "bit-identical to a run without interruption"
            )
    if refused:
        went_on = "the trial started anew" if state_dict is None else "the one before it was used"
        warned.append(f"{'; '.join(refused)}; {went_on}")
    if warned:
        # A worker's warning is seen by nobody, so it stands in the result as well.
        notes["warning"] = "; ".join(warned)
        warnings.warn(notes["warning"], stacklevel=2)
    folder.rewind_history(run.epoch)

    def save() -> None:
        save_checkpoint(folder.checkpoint, run.state_dict(), fingerprint=folder.fingerprint)

    state = TrialState.COMPLETE
    try:
        saved = time.monotonic()
        for record in run.train(pause_steps=PAUSE_STEPS):
            if record is not None:
                folder.append_history({**_plain(record), "time": time.time()})
            due = checkpoint_seconds if record is None else min(checkpoint_seconds, EPOCH_SECONDS)
            is_saved = time.monotonic() - saved >= due
            if is_saved:
                save()
                saved = time.monotonic()
            try:
                yield record
            except GeneratorExit:
                if not is_saved:
                    save()
                raise
        details = _json_numbers(asdict(run.outcome()))
        save_atomically(folder.weights, run.final_weights())
    except NonFiniteLossError as error:
        state = TrialState.DIVERGED
        details = _json_numbers(
            {
                "error": str(error),
                "epochs": run.epoch,
                "steps": error.step,
                "last_finite_loss": error.last_finite_loss,
            }
        )
    folder.write(
        folder.result,
        {
            "state": state.value,
            "time": time.time(),
            **details,
            **notes,
            **_where(device, execution),
        },
    )
    remove_checkpoints(folder.checkpoint)


def _plain(record: EpochRecord) -> dict[str, Any]:
    """A record as JSON data."""
    values = asdict(record)
    return _json_numbers(
        {key: value.value if isinstance(value, Enum) else value for key, value in values.items()}
    )


def _json_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """None for NaN, which JSON does not have: the accuracy of no images, a loss never seen."""
    return {key: None if value != value else value for key, value in values.items()}


def _where(device: str, execution: Execution) -> dict[str, Any]:
    name = platform.machine()
    if device.startswith("cuda"):
        # This also runs while a failure is recorded, which may be that there is no such device.
        name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "not available"
    return {
        "device": f"{device} ({name})",
        "execution": str(execution),
        "host": platform.node(),
        "git_commit": git_commit(),
        "packages": json.dumps(package_versions()),
    }
