"""Take finished trials from an archive into a storage, before the others are trained."""

import fcntl
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

from sweeps.archive.archive import Archive, Object
from sweeps.archive.place import ArchiveError
from sweeps.archive.trial_file import digest_of
from sweeps.printing.number_of import number_of
from sweeps.spec import Cell
from sweeps.storage import sharing
from sweeps.storage.folder import Storage
from sweeps.storage.record_files import read_text, write_atomically
from sweeps.storage.sealed_json import DamagedError, decode, encode
from sweeps.storage.trial_states import states_of

_AT_ONCE = 8
"""Trials that are read at the same time, as each waits for a few answers."""
_OWNER = "archives"


@dataclass(frozen=True, kw_only=True)
class KnownArchives:
    """The archives with which a storage was compared: ``archives.json`` of the storage."""

    VERSION: ClassVar[int] = 1
    urls: tuple[str, ...] = ()
    time: float = 0.0
    """Time of the last comparison, in seconds since 1970."""


def take_finished(
    archive: Archive, cells: Sequence[Cell], storage: Storage, *, quiet: bool = False
) -> int:
    """Take the unfinished trials that an archive has, and networks that others start from.

    Trials that another command trains now are left to it. If the archive does not answer although
    the storage was compared with it before, the sweep continues without it, after a warning.

    Args:
        archive: the archive.
        cells: the trials of a sweep or of a study.
        storage: the storage, which is created if it does not exist.
        quiet: whether to print no line about the number of trials.

    Returns:
        The number of trials that were taken.

    Raises:
        ArchiveError: the archive does not answer, and trials that it has would be trained again.
        ConfigurationError: the storage cannot be written to, or `sweeps rm` uses it.
    """
    storage.require_writable()
    with storage.locked(shared=True):
        try:
            taken = _take(archive, cells, storage)
        except ArchiveError as error:
            if archive.url not in _known(storage).urls:
                raise
            _warn(f"{error}; nothing is taken from it now")
            return 0
        with sharing.locked(storage.root / ".archives.lock", fcntl.LOCK_EX):
            known = dict.fromkeys((*_known(storage).urls, archive.url))
            record = KnownArchives(urls=tuple(known), time=time.time())
            text = encode(record, _OWNER, indent=1)
            write_atomically(storage.root / "archives.json", text + "\n")
    if taken and not quiet:
        print(f"{number_of(taken, 'trial')} taken from {archive.url}", flush=True)
    return taken


class Taking:
    """Takes single trials from an archive, just before they would be trained."""

    def __init__(self, archive: Archive, storage: Storage) -> None:
        """Request nothing yet.

        Args:
            archive: the archive.
            storage: the storage of the trials.
        """
        self._archive = archive
        self._storage = storage
        self._objects: dict[str, list[Object]] | None = None

    def __call__(self, cell: Cell) -> None:
        """Take a trial if the archive has it; a warning is printed if the archive does not answer.

        The archive is listed once, so that trials are not taken that other commands add later.
        """
        try:
            if self._objects is None:
                self._objects = {}  # after a failure, too: a search does not wait for the archive
                self._objects = self._archive.objects()
            if found := self._objects.get(cell.fingerprint):
                take_one(self._archive, found, self._storage)
        except ArchiveError as error:
            _warn(f"{error}; {cell.name} is trained here")


def missing_in(
    cells: Iterable[Cell], storage: Storage, objects: Mapping[str, Sequence[Object]]
) -> list[Cell]:
    """Return the trials whose result in the storage is not that of one of the objects."""
    return [
        cell
        for cell in cells
        if (folder := storage.trial(cell.fingerprint)).result.exists()
        and digest_of(folder) not in (one.digest for one in objects.get(cell.fingerprint, ()))
    ]


def take_one(archive: Archive, objects: list[Object], storage: Storage) -> bool:
    """Take a trial, unless another command trains it or its objects cannot be trusted.

    Args:
        archive: the archive.
        objects: the objects of the trial.
        storage: the storage.

    Returns:
        Whether the trial was taken.

    Raises:
        ArchiveError: the archive does not answer.
    """
    trusted = archive.trusted(objects)
    if not trusted:
        return False
    folder = storage.trial(trusted[0].fingerprint)
    folder.make()
    if (lock := folder.locked_at_once()) is None:
        return False
    with lock:
        return folder.is_done() or any(archive.take(one, folder) for one in trusted)


def _take(archive: Archive, cells: Sequence[Cell], storage: Storage) -> int:
    objects = archive.objects()

    def take(fingerprints: Iterable[str]) -> int:
        wanted = [objects[name] for name in dict.fromkeys(fingerprints) if name in objects]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return sum(pool.map(lambda one: take_one(archive, one, storage), wanted))

    def unfinished() -> list[Cell]:
        states = states_of(cells, storage)
        return [cell for cell in cells if not states[cell.fingerprint].is_finished]

    if not objects:
        return 0
    taken = take(cell.fingerprint for cell in unfinished())
    # A trial that is still to be trained may need networks of other sweeps.
    of_sweep = {cell.fingerprint for cell in cells}
    parents = {parent for cell in unfinished() for parent in cell.parents} - of_sweep
    return taken + take(name for name in sorted(parents) if not storage.trial(name).is_done())


def _known(storage: Storage) -> KnownArchives:
    try:
        text = read_text(storage.root / "archives.json")
        return decode(KnownArchives, (text or "{}").removesuffix("\n"), _OWNER)
    except DamagedError:
        return KnownArchives()


def _warn(line: str) -> None:
    print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)
