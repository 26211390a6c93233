"""Fetch a dataset or weights into a folder: copy or unpack them, whatever form they lie in."""

import fcntl
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.storage.sharing import locked

_DAMAGED = (shutil.ReadError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
"""Errors that the standard library raises for a damaged or truncated archive."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""Suffixes of archives. Instead of a file or folder ``NAME``, the data folder may hold
``NAME.tar.gz``."""

LOCK = ".staging.lock"
"""The lock of a folder with data, which whoever adds to it holds."""

_NO_CONTENT = "__MACOSX"
"""A folder that the Finder adds to archives."""

MOST_LOOKED_AT = 10_000
"""Number of entries of a folder whose sizes and times are compared, outer ones first. A folder has
another time after an entry was added to it or removed."""


def fetch(source: Path, target: Path) -> None:
    """Copy or unpack a file or folder under a temporary name, and rename it when it is complete.

    Args:
        source: the file or folder, or that which an archive beside it has; it need not exist.
        target: where to put it, which does not exist.

    Raises:
        ConfigurationError: the archive is damaged.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    remove(unfinished)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, unfinished)
    elif source.is_file():
        shutil.copy2(source, unfinished)
    elif archive := archive_of(source):
        try:
            if archive.suffix == ".zip":
                shutil.unpack_archive(archive, unfinished)
            else:
                shutil.unpack_archive(archive, unfinished, filter="data")
        except _DAMAGED as error:
            raise ConfigurationError(
                f"{archive}: cannot be unpacked ({error}); replace the archive"
            ) from error
        inner = unfinished / target.name  # an archive holds what has its name, or its content
        others = {path.name for path in unfinished.iterdir()} - {inner.name, _NO_CONTENT}
        if inner.is_dir() or (inner.is_file() and not others):
            inner.replace(target)
            shutil.rmtree(unfinished)
            return
    else:
        return
    unfinished.replace(target)


def archive_of(path: Path) -> Path | None:
    """Return the archive of a file or folder that is beside it; None if there is none."""
    found = (path.with_name(path.name + suffix) for suffix in ARCHIVES)
    return next((file for file in found if file.is_file()), None)


def state_of(source: Path) -> str:
    """Return a text that is another one after a change of what `fetch` reads; empty for nothing.

    Sizes and times of change are compared, not content.

    Args:
        source: see `fetch`.
    """
    if source.is_dir():
        return _digest(_entries_in(source))
    file = source if source.is_file() else archive_of(source)
    return "" if file is None else _digest([_look(file)])


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path, *, only_wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, so that only this process adds data to it.

    Args:
        folder: a folder; if it does not exist or is not writable, no lock is taken.
        only_wait: whether no data is missing; then wait for a process that adds data, and release
            the lock at once.

    Raises:
        ConfigurationError: data is missing, and the file system does not support locks.
    """
    if not os.access(folder, os.W_OK):
        yield
        return
    lock = folder / LOCK
    if only_wait:
        with suppress(ConfigurationError), locked(lock, fcntl.LOCK_SH):
            pass
        yield
        return
    with locked(lock, fcntl.LOCK_EX):
        yield


def _entries_in(folder: Path) -> Iterator[str]:
    """Yield what tells a change of a folder, outer entries first."""
    left, looked_at = [folder], 0
    while left and looked_at < MOST_LOOKED_AT:
        inner = left.pop(0)
        names = sorted(os.listdir(inner))
        yield f"{inner.relative_to(folder)}: {len(names)}"
        for name in names[: MOST_LOOKED_AT - looked_at]:
            looked_at += 1
            path = inner / name
            if path.is_dir():
                left.append(path)
            yield _look(path)


def _look(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:  # a link to nothing
        return f"{path.name}: nothing"
    return f"{path.name}: {found.st_size} {found.st_mtime_ns}"


def _digest(parts: Iterator[str] | list[str]) -> str:
    found = sha256()
    for part in parts:
        found.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return found.hexdigest()[:16]
