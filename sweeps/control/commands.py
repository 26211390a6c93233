"""The commands that train a sweep now, each of which holds the lock of its file.

The files are::

<storage>/control/<name>/commands/<id>.json    the command, and the requests that it knows
<id>.lock    locked while the command runs
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

from quantlab.errors import ConfigurationError
from sweeps.control.requests import Requests
from sweeps.storage import sharing
from sweeps.storage.provenance import running_here
from sweeps.storage.record_files import RecordFile
from sweeps.storage.records import Origin, Running


@dataclass(frozen=True, kw_only=True)
class LiveCommand(Running):
    """A command that trains a sweep now: ``<id>.json``."""

    VERSION: ClassVar[int] = 1
    seen: tuple[str, ...] = ()
    """Identities of the requests that the command knows, and obeys from then on."""


class OwnCommand:
    """The entry of this process among the commands."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        """Write the entry.

        Args:
            folder: the folder of the commands.
            origin: the command.
        """
        self._file = _file(folder / f"{token_hex(8)}.json")
        own = running_here(origin)
        self._record = LiveCommand(**{item.name: getattr(own, item.name) for item in fields(own)})
        self._lock = sharing.lock(self._file.path.with_suffix(".lock"), fcntl.LOCK_EX)
        self._file.write(self._record)

    def answer(self, seen: tuple[str, ...]) -> None:
        """Write which requests the command knows.

        If this fails now, the command obeys nevertheless, and only those who wait are not told.
        """
        self._record = replace(self._record, seen=seen)
        with suppress(OSError):
            self._file.write(self._record)

    def close(self) -> None:
        """Remove the entry."""
        with self._lock:
            _remove(self._file.path)


@contextmanager
def registered(requests: Requests, origin: Origin) -> Iterator[OwnCommand]:
    """Be among the commands that train a sweep, within a `with` block.

    Args:
        requests: the requests about the sweep.
        origin: the command.
    """
    folder = _folder(requests)
    sharing.adopt_group(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = OwnCommand(folder, origin)
    try:
        yield own
    finally:
        own.close()


def live_commands(requests: Requests, *, removes: bool = True) -> dict[str, LiveCommand]:
    """Return the commands that train a sweep now by their identities.

    Args:
        requests: the requests about the sweep.
        removes: whether entries of commands that have died are removed, if this process may do so.
    """
    found = {}
    for path in sorted(_folder(requests).glob("*.json")):
        if not sharing.is_held(path.with_suffix(".lock")):
            if removes:
                with suppress(OSError):  # another user's
                    _remove(path)
            continue
        with suppress(OSError, ConfigurationError):  # it ends now, or is of a later version
            if (record := _file(path).read()) is not None:
                found[path.stem] = record
    return found


def _folder(requests: Requests) -> Path:
    return requests.folder / "commands"


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _file(path: Path) -> RecordFile[LiveCommand]:
    return RecordFile(path, LiveCommand, if_damaged="the command is left out")
