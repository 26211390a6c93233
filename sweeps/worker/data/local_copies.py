"""Local copies of data, in a folder on a local disk for each data folder and state of its data.

They are in::

    <scratch>/<name>-<digest of the path>/<number>/...

A folder that trials may read is only added to. If data that it has was changed, the next number is
made, with links to all that has not changed. A folder goes when a later one is there and the last
process that reads it has ended. Users of a machine may have one scratch folder: whoever may not add
to the copies of another user reads them, and has own ones beside them for what they lack.
"""

import atexit
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePath
from typing import BinaryIO

from quantlab import ConfigurationError
from sweeps.storage.record_files import read_text, write_atomically
from sweeps.storage.sealed_json import DamagedError
from sweeps.storage.sharing import lock, locked
from sweeps.worker.data.fetching import LOCK, exclusive, fetch, remove, state_of

_STATES = ".sources.json"
"""What a folder was copied from: name -> `state_of` its source."""
_IN_USE = ".in-use.lock"
"""Is locked together by the processes that may read a folder."""

_read_here: dict[Path, BinaryIO] = {}
"""Folders that this process may read until it ends -> their locks."""


def local_copy(
    data_dir: Path, scratch: Path, names: Iterable[str], check: Callable[[Path], None]
) -> Path:
    """Copy or unpack files and folders, unless they were and their sources have not changed.

    Args:
        data_dir: the data folder.
        scratch: a folder on the local disk.
        names: files and folders within the data folder.
        check: is called with the folder of the copies, and downloads what is in no data folder.

    Returns:
        The folder of the copies, which this process may read until it ends.

    Raises:
        ConfigurationError: an archive is damaged, or see `check`.
    """
    path = data_dir.absolute()
    root = scratch / f"{path.name}-{sha256(os.fsencode(path)).hexdigest()[:8]}"
    wanted = {name: state_of(data_dir / name) for name in sorted(names)}
    target = _whole(root, wanted)
    if target is None and not os.access(root, os.W_OK):
        root = root.with_name(f"{root.name}-{os.getuid()}")
        target = _whole(root, wanted)
    if target is None:
        with exclusive(root, only_wait=False):
            target = _latest(root)
            if target is None or _changed(target, wanted):
                target = _next(root, target, wanted)
            _read_from_now_on(target)
            for name in wanted:  # a folder before what is in it
                if not (target / name).exists():
                    fetch(data_dir / name, target / name)
            _note(target, wanted)
            check(target)
            _note(target, wanted)  # with what was downloaded
    else:
        check(target)
    _remove_unread(root, target)
    return target


def _whole(root: Path, wanted: Mapping[str, str]) -> Path | None:
    """Return the latest folder, to be read from now on, if it has everything; None otherwise."""
    root.mkdir(parents=True, exist_ok=True)
    if not os.access(root, os.R_OK | os.X_OK):  # of another user, for nobody else
        return None
    with _together(root):
        target = _latest(root)
        if target is None or not _has(target, wanted):
            return None
        _read_from_now_on(target)
        return target


@contextmanager
def _together(root: Path) -> Iterator[None]:
    """Wait for a process that adds data, and keep others from it, where there are locks."""
    with ExitStack() as stack:
        with suppress(ConfigurationError):
            stack.enter_context(locked(root / LOCK, fcntl.LOCK_SH))
        yield


def _latest(root: Path) -> Path | None:
    numbers = [int(path.name) for path in root.iterdir() if path.name.isdecimal()]
    return root / str(max(numbers)) if numbers else None


def _states(target: Path) -> dict[str, str]:
    """Return the states of what a folder has, by its names; empty for downloads."""
    try:
        found = json.loads(read_text(target / _STATES) or "{}")
    except (DamagedError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _has(target: Path, wanted: Mapping[str, str]) -> bool:
    """Whether a folder has everything as it is; what has no source now counts as it was."""
    found = _states(target)
    return all(
        name in found and (target / name).exists() and state in ("", found[name])
        for name, state in wanted.items()
    )


def _changed(target: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return the names of what a folder has in another state."""
    found = _states(target)
    return [
        name
        for name, state in wanted.items()
        if state and (target / name).exists() and found.get(name) != state
    ]


def _next(root: Path, before: Path | None, wanted: Mapping[str, str]) -> Path:
    """Make the next folder, with what the one before has and what has not changed."""
    for path in root.glob("*.unfinished"):
        remove(path)
    if before is None:
        target = root / "1"
        target.mkdir()
        return target
    changed = _changed(before, wanted)
    kept = {
        name: state
        for name, state in _states(before).items()
        if not any(PurePath(name).is_relative_to(other) for other in changed)
    }
    target = root / str(int(before.name) + 1)
    unfinished = root / f"{target.name}.unfinished"
    if (unread := _unread(before)) is not None:  # then the disk needs no room for both
        with unread:
            before.replace(unfinished)
    else:
        unfinished.mkdir()
        for name in sorted(kept):
            if not (unfinished / name).exists():  # in a folder that was linked already
                _link(before / name, unfinished / name)
    for name in changed:
        remove(unfinished / name)
    (unfinished / _STATES).unlink(missing_ok=True)
    _note(unfinished, kept)
    unfinished.replace(target)
    return target


def _note(target: Path, states: Mapping[str, str]) -> None:
    """Record what a folder has, and from which state of its source."""
    known = _states(target)
    new = {name: state for name, state in states.items() if state or name not in known}
    there = {name: state for name, state in (known | new).items() if (target / name).exists()}
    write_atomically(target / _STATES, json.dumps(there, indent=1, sort_keys=True) + "\n")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    elif source.exists():
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _read_from_now_on(target: Path) -> None:
    """Keep a folder from being removed, until this process has ended."""
    file = target / _IN_USE
    with suppress(ConfigurationError, OSError):  # it has no locks, so that nobody removes it
        held = _read_here.get(target)
        if held is None or not file.exists() or not _is_file(held, file):
            _read_here[target] = lock(file, fcntl.LOCK_SH)


@atexit.register
def _close_at_end() -> None:
    for held in _read_here.values():
        held.close()


def _is_file(held: BinaryIO, file: Path) -> bool:
    """Whether an open file is that of a path, which somebody may have removed."""
    return os.path.samestat(os.fstat(held.fileno()), file.stat())


def _unread(target: Path) -> BinaryIO | None:
    """Lock a folder that no process reads; None if one may."""
    try:
        return lock(target / _IN_USE, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ConfigurationError):  # somebody has it, or has removed it
        return None


def _remove_unread(root: Path, latest: Path) -> None:
    """Remove the folders before the given one that no process reads any more."""
    for path in root.iterdir():
        is_earlier = path.name.isdecimal() and int(path.name) < int(latest.name)
        if is_earlier and (unread := _unread(path)) is not None:
            with unread:
                remove(path)
