"""The record of a sweep that is run until decided: the trials that were added to it.

Commands find them by it as trials of the sweep. What is decided is in no file, as it follows from
the results of the trials::

    <storage>/deciding/<sweep>/record.json
"""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from sweeps.selection.added import AddedTrial, added_to, with_added
from sweeps.selection.part_of_sweep import report_name
from sweeps.spec import SweepSpec
from sweeps.storage import sharing
from sweeps.storage.folder import Storage
from sweeps.storage.record_files import RecordFile


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """What was added to a sweep until its questions were decided."""

    VERSION: ClassVar[int] = 1
    sweep: str
    """Name of the sweep."""
    margin: float
    """Margin of the last command that asked for it, in points; see `sweeps run --margin`."""
    most_seeds: int
    """Its largest number of seeds of a configuration."""
    added: tuple[AddedTrial, ...] = ()
    """The trials that were added, in the order in which they were."""


def is_recorded(name: str, storage: Storage) -> bool:
    """Whether a sweep was run until decided in a storage."""
    return os.path.lexists(_file(name, storage).path)


def recorded(name: str, storage: Storage) -> Deciding | None:
    """Return what was added to a sweep; None if it was never run until decided.

    Raises:
        ConfigurationError: a later version of this program wrote the record.
        OSError: the record cannot be read now.
    """
    return _file(name, storage).read()


def record(
    name: str,
    storage: Storage,
    *,
    margin: float,
    most_seeds: int,
    added: Iterable[AddedTrial] = (),
) -> None:
    """Record trials that are about to be added to a sweep, and for what they are.

    Trials that another command has added meanwhile stay.

    Args:
        name: name of the sweep.
        storage: the storage, which is writable.
        margin: see `Deciding`.
        most_seeds: see `Deciding`.
        added: the trials.
    """
    file = _file(name, storage)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with sharing.locked(file.path.parent / ".lock", fcntl.LOCK_EX):
        before = file.read()
        known = () if before is None else before.added
        names = {trial.fingerprint for trial in known}
        found = Deciding(
            sweep=name,
            margin=margin,
            most_seeds=most_seeds,
            added=(*known, *(trial for trial in added if trial.fingerprint not in names)),
        )
        if found != before:
            file.write(found)


def grown(sweep: SweepSpec, storage: Storage) -> SweepSpec:
    """Return a sweep with the trials that were added to it since it was loaded.

    One that was run until decided says so, even if nothing had to be added. A part of a sweep stays
    as it is.

    Args:
        sweep: the sweep, of which the blocks have recipes.
        storage: see `recorded`.

    Raises:
        ConfigurationError: see `recorded`.
        OSError: see `recorded`.
    """
    known = recorded(sweep.name, storage) if report_name(sweep) == sweep.name else None
    if known is None:
        return sweep
    before = added_to(sweep)
    if before is not None and {one.fingerprint for one in known.added} <= set(before):
        return sweep
    return with_added(sweep, known.added)


def _file(name: str, storage: Storage) -> RecordFile[Deciding]:
    return RecordFile(
        storage.root / "deciding" / name / "record.json",
        Deciding,
        if_damaged="trials that were added to the sweep are unknown; run the same command again",
    )
