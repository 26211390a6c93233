"""Train a trial again, as it was trained, in a storage of its own."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from quantlab import ConfigurationError, Recipe
from quantlab.execution import Execution, parse_execution
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import Result, Running
from sweeps.worker.trial import train_trials

_EVERY_SECONDS = 10.0
"""Minimum time between two lines about the progress."""


@dataclass(frozen=True)
class Attempt:
    """How a trial is trained again."""

    members: tuple[Cell, ...]
    """The trials of its pack in order, and it among them."""
    device: str
    execution: Execution


def attempt_of(
    cell: Cell, result: Result, cells: Mapping[str, Cell], log: Callable[[str], None]
) -> Attempt:
    """Determine how to train a trial such that it is computed as before.

    Args:
        cell: the trial.
        result: its result.
        cells: all trials of its sweep by their fingerprints.
        log: is called with a line if it has to be computed in another way.

    Raises:
        ConfigurationError: this machine has not the device of the trial, or the trial was trained
            by several processes.
    """
    name = f"trial {cell.fingerprint}"
    device = "cuda" if result.device.startswith("cuda") else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            f"{name}: was trained on {result.device}, but this machine has no GPU; run the command "
            "on a machine with such a GPU"
        )
    execution = parse_execution(result.execution)
    if execution.replicas > 1:
        raise ConfigurationError(
            f"{name}: {execution.replicas} processes trained it together, which this command does "
            f"not do; run `{result.command}` with another --storage"
        )
    members = [cells.get(member) for member in result.pack_members] or [cell]
    known = tuple(member for member in members if member is not None)
    if len(known) < result.pack:
        log(
            f"the trial was trained in a pack of {result.pack}, whose other trials are not known: "
            "it is trained alone, and may be rounded in another way"
        )
        known = (cell,)
    return Attempt(known, device, execution)


def train_again(
    attempt: Attempt,
    original: Storage,
    beside: Storage,
    *,
    data_dir: Path,
    running: Running,
    log: Callable[[str], None],
) -> None:
    """Train the trials of an attempt to their end; those that have finished there are left out.

    Args:
        attempt: the trials, and how they are computed.
        original: the storage of the originals, whose networks trials may start from.
        beside: the storage of the reproductions.
        data_dir: the folder of the datasets.
        running: the command that reproduces the trial.
        log: is called with lines about the progress.

    Raises:
        ConfigurationError: a network that a trial starts from is missing.
        Exception: any error of the training.
    """
    beside.require_writable()
    for parent in {parent for cell in attempt.members for parent in cell.parents}:
        _require_network(original.trial(parent))
    for cell in attempt.members:
        require_apart(original.trial(cell.fingerprint), beside.trial(cell.fingerprint))
    trials = [(cell.recipe, beside.trial(cell.fingerprint)) for cell in attempt.members]
    epochs = max(_epochs(recipe) for recipe, _ in trials)
    printed = time.monotonic()

    def leave(folder: TrialFolder) -> None:
        raise ConfigurationError(
            f"trial {folder.fingerprint}: another command reproduces it now; wait until it ends"
        )

    training = train_trials(
        trials,
        data_dir=data_dir.absolute(),
        device=attempt.device,
        execution=attempt.execution,
        running=running,
        leave=leave,
        weights_of=lambda other: original.trial(other).intact_weights(),
    )
    with closing(training):
        for events in training:
            records = [event.record for event in events if event.record is not None]
            if records and time.monotonic() - printed >= _EVERY_SECONDS:
                printed = time.monotonic()
                log(f"epoch {max(record.epoch for record in records)} of {epochs}")


def _epochs(recipe: Recipe) -> int:
    return recipe.epochs + recipe.batchnorm_epochs


def require_apart(original: TrialFolder, again: TrialFolder) -> None:
    """Require that a trial and its reproduction are two; a link to the trial is removed.

    Earlier releases made such links, so that other trials found its network.

    Raises:
        ConfigurationError: they are the same folder.
    """
    if again.path.resolve() != original.path.resolve():
        return
    if not again.path.is_symlink():
        raise ConfigurationError(
            f"--out {again.path.parents[1]}: is the storage of trial {original.fingerprint}; give "
            "another folder"
        )
    again.path.unlink()


def _require_network(parent: TrialFolder) -> None:
    if not parent.intact_weights().exists():
        raise ConfigurationError(
            f"trial {parent.fingerprint}: its network {parent.weights} is missing, but another "
            "trial starts from it or learns from it; train it again"
        )
