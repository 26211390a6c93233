"""The trials of a storage by their fingerprints, whatever sweep they belong to."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quantlab import ConfigurationError
from sweeps.inventory.known_sweeps import names_of_trials
from sweeps.spec import Cell
from sweeps.storage.damage import warn_of_damage
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.record_files import read_text
from sweeps.storage.sealed_json import DamagedError


def trial_named(prefix: str, storage: Storage, what: str) -> TrialFolder:
    """Return the folder of a trial.

    Args:
        prefix: its fingerprint or the first digits of it, or the path of its folder.
        storage: the storage.
        what: the option or argument, for messages.

    Raises:
        ConfigurationError: no trial or several trials have such a fingerprint, or the folder is in
            another storage.
    """
    place, there = storage.root / "trials", names_of_trials(storage)
    path = Path(prefix)
    if "/" in prefix and path.name in there:
        folder = storage.trial(path.name)
        if path.exists() and not path.samefile(folder.path):  # such as one that was reproduced
            raise ConfigurationError(
                f"{what} {prefix}: is not in --storage {storage.root}; give the --storage that has "
                f"it, and the fingerprint {path.name}"
            )
        return folder
    found = sorted(name for name in there if name.startswith(prefix))
    if len(found) == 1:
        return storage.trial(found[0])
    if found:
        raise ConfigurationError(
            f"{what} {prefix}: {len(found)} trials in {place} have a fingerprint with these first "
            f"digits, such as {', '.join(found[:3])}; give more digits"
        )
    raise ConfigurationError(
        f"{what} {prefix}: no trial has a fingerprint with these first digits; fingerprints are "
        f"the names of the folders in {place}"
    )


def cell_named(cells: Sequence[Cell], prefix: str, storage: Storage) -> Cell:
    """Return the trial of a sweep that ``--trial`` names.

    Args:
        cells: the trials of the sweep.
        prefix: its fingerprint or the first digits of it.
        storage: the storage, for the message.

    Raises:
        ConfigurationError: no trial or several trials of the sweep have such a fingerprint.
    """
    found = [cell for cell in cells if cell.fingerprint.startswith(prefix)]
    if len(found) != 1:
        several = ", ".join(f"{cell.fingerprint} ({cell.name})" for cell in found[:3])
        raise ConfigurationError(
            f"--trial {prefix}: {len(found)} trials have a fingerprint with these first digits, "
            f"such as {several}; give more digits"
            if found
            else f"--trial {prefix}: no trial has a fingerprint with these first digits; "
            f"fingerprints are the names of the folders in {storage.root / 'trials'}"
        )
    return found[0]


def recipe_of(folder: TrialFolder) -> dict[str, Any] | None:
    """Return the recipe of a trial as JSON data; None without one, or after a warning."""
    try:
        text = read_text(folder.recipe)
        return None if text is None else dict(json.loads(text)["recipe"])
    except (DamagedError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"is damaged ({type(error).__name__})"
        warn_of_damage(folder.recipe, reason, "the recipe of the trial is unknown")
        return None


def parents_of(recipe: dict[str, Any]) -> set[str]:
    """Return the fingerprints of the trials whose networks a recipe needs.

    Args:
        recipe: the recipe as JSON data.
    """
    return {
        part["fingerprint"]
        for part in _parts(recipe)
        if part.get("type") == "TrialWeights" and isinstance(part.get("fingerprint"), str)
    }


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _parts(item)
