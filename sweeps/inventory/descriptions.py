"""Sweeps and trials as JSON data: what `sweeps show` and `sweeps log` print."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sweeps.inventory.known_sweeps import KnownSweep, counted
from sweeps.inventory.trials import recipe_of
from sweeps.spec import Cell, SweepSpec
from sweeps.spending.attempts import attempts_of
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.output import read_output
from sweeps.storage.records import values_of
from sweeps.storage.sealed_json import plain
from sweeps.storage.trial_states import states_of


def sweep_data(sweep: SweepSpec, storage: Storage) -> dict[str, Any]:
    """Describe a sweep: its blocks, the states of its trials, and the settings that these share."""
    states = states_of(sweep.cells, storage)
    blocks = []
    for block in sweep.blocks:
        cells = [cell for cell in sweep.cells if cell.block == block.label]
        axes: dict[str, list[str]] = {}
        for cell in cells:
            for axis, label in cell.coordinates.items():
                if label not in axes.setdefault(axis, []):
                    axes[axis].append(label)
        blocks.append(
            {
                "label": block.label,
                "axes": axes,
                "seeds": sorted({cell.recipe.seed for cell in cells}),
                "trials": len(cells),
                "states": counted(states[cell.fingerprint] for cell in cells),
            }
        )
    return {
        "name": sweep.name,
        "kind": "sweep",
        "description": sweep.description,
        "experiment": sweep.experiment or sweep.name,
        "storage": str(storage.root),
        "trials": len(sweep.cells),
        "states": counted(states.values()),
        "blocks": blocks,
        "recipe": _shared(sweep.cells),
    }


def _shared(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the fields of the recipes that all trials share."""
    from quantlab.canonical import flatten  # with torch, which `sweeps log` does not need

    recipes = (flatten(cell.recipe) for cell in cells)
    shared = next(recipes)
    for other in recipes:
        shared = {key: value for key, value in shared.items() if other.get(key, ...) == value}
    return dict(shared)


def trial_data(
    folder: TrialFolder, known: Iterable[KnownSweep], cell: Cell | None = None
) -> dict[str, Any]:
    """Describe a trial: its recipe, its state, its result or failure, its epochs, and its attempts.

    Args:
        folder: the folder of the trial, which need not exist if there is a cell.
        known: the sweeps and studies that were recorded in the storage.
        cell: the trial as a cell of a sweep; None if the sweep is not known.
    """
    from quantlab.canonical import flatten, flatten_canonical

    recipe = recipe_of(folder)
    settings = flatten(cell.recipe) if cell is not None else flatten_canonical(recipe or {})
    result = folder.result.read()
    found = None if result is None else {**values_of(result), "state": result.state.value}
    return {
        **identity_of(folder, known, cell),
        "recipe": dict(sorted(settings.items())),
        "result": found,
        "failure": _failure(folder),
        "epochs": [values_of(epoch) for epoch in folder.read_history()],
        "attempts": [plain(attempt) for attempt in attempts_of(folder)],
    }


def identity_of(
    folder: TrialFolder, known: Iterable[KnownSweep], cell: Cell | None = None
) -> dict[str, Any]:
    """Return the identity of a trial, its sweeps, and its state; see `trial_data`."""
    sweeps = {
        one.name: trial.name
        for one in known
        if (trial := one.all_trials.get(folder.fingerprint)) is not None
    }
    if cell is not None:
        sweeps = {cell.sweep: cell.name} | sweeps
    return {
        "fingerprint": folder.fingerprint,
        "name": next(iter(sweeps.values()), None),
        "sweeps": list(sweeps),
        "state": folder.state().value,
        "folder": str(folder.path),
    }


def log_data(folder: TrialFolder, known: Iterable[KnownSweep]) -> dict[str, Any]:
    """Return the failure of a trial, and what it printed."""
    others = sorted(folder.path.glob("output.*.txt"), key=lambda path: (len(path.name), path.name))
    return {
        **identity_of(folder, known),
        "failure": _failure(folder),
        "output": read_output(folder.output_of(0)),
        "further_outputs": {path.name: read_output(path) for path in others},
    }


def _failure(folder: TrialFolder) -> dict[str, Any] | None:
    failure = None
    if folder.state() is not TrialState.COMPLETE:
        failure = folder.failure.read()
    if failure is None:
        return None
    return {
        "error": failure.error,
        "traceback": failure.traceback,
        "time": failure.time,
        "host": failure.host,
        "device": failure.device,
    }


def when(seconds: float | None) -> str:
    """Format a time in seconds since 1970 in the local time zone; empty if it is unknown."""
    if seconds is None or math.isnan(seconds):
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
