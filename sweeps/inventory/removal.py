"""Removal: which trials of a storage may be removed, and their removal."""

import fcntl
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from quantlab.errors import in_full
from sweeps.inventory.known_sweeps import KnownSweep, names_of_trials
from sweeps.inventory.trials import parents_of, recipe_of
from sweeps.storage import sharing, source_archive
from sweeps.storage.folder import Storage, TrialState

_REMOVED = ".removed-"
"""Beginning of the names of folders of which the removal has begun."""


@dataclass(frozen=True)
class Removable:
    """A trial that may be removed."""

    fingerprint: str
    name: str
    """Its name in the sweep; empty if it is unknown."""
    state: TrialState
    size: int
    """Bytes of its files."""
    warning: str = ""
    """Why removing it has consequences for other trials; empty if it has none."""

    def called(self, name: str) -> "Removable":
        """Return the same trial with another name."""
        return replace(self, name=name)


@dataclass(frozen=True)
class Kept:
    """A trial that is not removed."""

    fingerprint: str
    name: str
    reason: str


@dataclass
class Removal:
    """The trials that would be removed, or were removed, and those that are kept."""

    trials: list[Removable] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    others: dict[Path, int] = field(default_factory=dict)
    """Further folders that go with the trials, such as a report -> their bytes."""


def removal_of(
    wanted: Mapping[str, str],
    storage: Storage,
    others: Sequence[KnownSweep],
    *,
    force: bool = False,
) -> Removal:
    """Determine which of the wanted trials may be removed.

    A trial that is trained now is kept. So is one that another sweep has which was run in this
    storage, and one whose network another trial needs that stays, unless `force` is given: then it
    is removed with a warning.

    Args:
        wanted: fingerprint -> name of the trials to remove.
        storage: the storage.
        others: the other sweeps and studies that the storage knows.
        force: whether to remove what others need.
    """
    there = names_of_trials(storage)
    wanted = {name: label for name, label in wanted.items() if name in there}
    states = {fingerprint: storage.trial(fingerprint).state() for fingerprint in wanted}
    kept = {name: "it is trained now" for name in wanted if states[name] is TrialState.RUNNING}
    while True:  # a trial that is kept needs others
        users = _users(wanted.keys() - kept.keys(), storage, there, others)
        if force or not users:
            break
        kept |= users
    return Removal(
        trials=[
            Removable(
                name, label, states[name], size_of(storage.trial(name).path), users.get(name, "")
            )
            for name, label in wanted.items()
            if name not in kept
        ],
        kept=[Kept(name, label, kept[name]) for name, label in wanted.items() if name in kept],
    )


def _users(
    wanted: Collection[str],
    storage: Storage,
    there: Collection[str],
    others: Sequence[KnownSweep],
) -> dict[str, str]:
    """Return why other trials and sweeps need wanted trials, by the fingerprints of these."""
    found: dict[str, str] = {}
    for known in others:
        for trial in known.all_trials.values() if known.time else ():
            if trial.fingerprint in wanted:
                found.setdefault(trial.fingerprint, f"it is a trial of {known.name}, too")
            elif not storage.trial(trial.fingerprint).state().is_finished:
                reason = f"{trial.name!r} of {known.name}, which has not finished, needs it"
                for parent in trial.parents:
                    found.setdefault(parent, reason)
    for fingerprint in sorted(set(there) - set(wanted)):
        recipe = recipe_of(storage.trial(fingerprint))
        for parent in parents_of(recipe) if recipe is not None else ():
            found.setdefault(parent, f"trial {fingerprint} was trained with its network")
    return {fingerprint: why for fingerprint, why in found.items() if fingerprint in wanted}


def orphans_of(storage: Storage, known: Sequence[KnownSweep]) -> dict[str, str]:
    """Return the trials that no sweep and no study has: their fingerprints, without names.

    Args:
        storage: the storage.
        known: the sweeps and studies that it knows.
    """
    of_sweeps = {fingerprint for one in known for fingerprint in one.all_trials}
    return dict.fromkeys(sorted(names_of_trials(storage) - of_sweeps), "")


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def remove_trial(fingerprint: str, storage: Storage, before: Callable[[], None]) -> str:
    """Remove the folder of a trial, unless a process trains it now.

    Args:
        fingerprint: the trial.
        storage: its storage.
        before: called when it is certain that no process trains it.

    Returns:
        Why it was not removed; empty if it was.
    """
    folder = storage.trial(fingerprint)
    try:
        lock = sharing.lock(folder.path / ".lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "it is trained now"
    with lock:
        before()
        gone = folder.path.with_name(f"{_REMOVED}{fingerprint}")
        try:
            folder.path.rename(gone)  # at once, so that no half of a trial is left
            gone.unlink() if gone.is_symlink() else shutil.rmtree(gone)
        except OSError as error:
            return in_full(error)
    return ""


def remove_leftovers(storage: Storage) -> None:
    """Remove the code of no trial, and the rest of folders of an interrupted removal."""
    for path in (storage.root / "trials").glob(f"{_REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)
    source_archive.remove_unused(storage.root)
