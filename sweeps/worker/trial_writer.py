"""Write the folder of a trial while it is trained, and the reason if it fails."""

import hashlib
import json
import math
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch

from quantlab import ConfigurationError, EpochRecord, NonFiniteLossError, Recipe, TrainingRun
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.export.network import network_file
from quantlab.tasks.dimensions import Dimensions
from quantlab.training.checkpoint import (
    load_last_good,
    remove_checkpoints,
    save_atomically,
    save_checkpoint,
)
from sweeps.spending.ongoing import OngoingAttempts
from sweeps.storage.folder import TrialFolder, TrialState
from sweeps.storage.provenance import device_name, git_commit, package_versions, processor_name
from sweeps.storage.records import NO_ORIGIN, Computed, Epoch, Failure, Origin, Result
from sweeps.worker.peak_memory import PeakMemory


def record_failure(
    folder: TrialFolder,
    error: str,
    traceback: str = "",
    device: str = "",
    execution: Execution = DEFAULT_EXECUTION,
    origin: Origin = NO_ORIGIN,
    *,
    is_transient: bool = False,
) -> None:
    """Write the reason for which the last attempt of a trial failed to its folder.

    Args:
        folder: the folder of the trial.
        error: the reason in one line.
        traceback: the traceback of Python, if there is one.
        device: the device on which the trial ran; empty if it had not started.
        execution: how the trial was computed.
        origin: the command that trained the trial.
        is_transient: see `Failure.is_transient`.
    """
    folder.make()
    where = asdict(_where(device, execution, origin))
    folder.failure.write(
        Failure(
            error=error, traceback=traceback, is_transient=is_transient, time=time.time(), **where
        )
    )


class TrialWriter:
    """Writes the history, checkpoints and result of a trial while it is trained."""

    def __init__(
        self,
        run: TrainingRun,
        folder: TrialFolder,
        device: str,
        execution: Execution,
        pack: Sequence[str],
        data_content: str,
        origin: Origin,
        attempts: OngoingAttempts,
        peak: PeakMemory,
    ) -> None:
        """Load the last intact checkpoint into the run, and cut the history to its epoch.

        Args:
            run: the training of the trial.
            folder: the folder of the trial.
            device: a torch device.
            execution: how the trial is computed.
            pack: fingerprints of the trials in the pack.
            data_content: hash of the dataset.
            origin: the command that trains the trial.
            attempts: the attempts of the pack, of which the result has one.
            peak: the memory of this process.
        """
        self._run = run
        self._attempts = attempts
        self._peak = peak
        self._folder = folder
        self._where = _where(device, execution, origin, *run.recipe.model.packages)
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
        """Add an epoch to the history."""
        values = {item.name: getattr(record, item.name) for item in fields(record)}
        self._folder.append_history(
            Epoch(**values, time=time.time(), data_content=self._data_content)
        )

    def save(self) -> None:
        """Write a checkpoint, unless the trial is over."""
        if not self.is_over:
            self._folder.sync_history()
            save_checkpoint(
                self._folder.checkpoint,
                self._run.state_dict(),
                fingerprint=self._folder.fingerprint,
            )
            self._attempts.saved(self._folder)

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
        self._close(TrialState.COMPLETE, **values, weights_sha256=digest)

    def diverge(self, error: NonFiniteLossError) -> None:
        """Write the result of a trial that has diverged."""
        last = error.last_finite_loss
        self._close(
            TrialState.DIVERGED,
            error=str(error),
            epochs=self._run.epoch,
            steps=error.step,
            last_finite_loss=None if math.isnan(last) else last,
        )

    def _close(self, state: TrialState, **details: Any) -> None:
        self._folder.sync_history()
        attempt = self._attempts.finish(self._folder, state)
        self._folder.result.write(
            Result(
                state=state,
                attempt=attempt,
                time=time.time(),
                warning=self._warning,
                pack=len(self._pack),
                pack_members=tuple(self._pack) if len(self._pack) > 1 else (),
                data_content=self._data_content,
                memory_gib=self._peak.gib,
                gpu_memory_gib=self._peak.gpu_gib,
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


def _where(device: str, execution: Execution, origin: Origin, *packages: str) -> Computed:
    return Computed(
        command=origin.command,
        folder=origin.folder,
        sources=origin.sources,
        job=origin.job,
        processor=processor_name(),
        device=device_name(device),
        execution=str(execution),
        host=platform.node(),
        git_commit=git_commit(),
        packages=json.dumps(package_versions(*packages)),
    )
