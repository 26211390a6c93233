"""Probe: try what a sweep needs of the file system of a folder.

A sweep relies on locks (`flock`) that exclude other processes, which show who trains a trial; on
the locks of SQLite (`fcntl`); on a rename that replaces a file, even one that is open; and on room
for what it writes.
"""

import errno
import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.file_system.mounts import mount_of

_BLOCK_BYTES = 65536
"""What must be free. Some file systems notice only while data is written that they are full."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def require_usable(folder: Path, what: str) -> None:
    """Check that the file system of a folder can do what a sweep needs.

    It takes less than a millisecond on a local disk.

    Args:
        folder: a folder that exists.
        what: start of the message, such as ``--storage DIR``.

    Raises:
        ConfigurationError: the folder cannot be written to, its file system is full or mounted
            read-only, has no locks, or cannot replace files.
    """
    file = folder / f".probe.{secrets.token_hex(8)}"  # others may probe the folder at this moment
    newer = folder / f"{file.name}.newer"
    try:
        file.write_bytes(bytes(_BLOCK_BYTES))
        _require_locks(file, what)
        newer.write_bytes(b"newer")
        _require_replaced(file, newer, what)
    except OSError as error:
        raise ConfigurationError(f"{what}: {not_writable(folder, error)}") from error
    finally:
        for path in (file, newer):
            with suppress(OSError):
                path.unlink()


def without_locks(path: Path, error: OSError | None = None) -> str:
    """Return the text of the message that the file system of a path has no locks.

    Args:
        path: a file or folder.
        error: the error of the system call; None if the call succeeded and locked nothing.
    """
    mount = mount_of(path)
    if error is None:
        return f"two processes get the same lock on the file system ({mount}); {mount.for_locks()}"
    return (
        f"the file system does not support locks ({mount}: {error.strerror}); {mount.for_locks()}"
    )


def not_writable(folder: Path, error: OSError) -> str:
    """Return the text of the message that nothing can be written to a folder.

    Args:
        folder: the folder.
        error: the error of the system call.
    """
    if error.errno == errno.EROFS:
        return f"is mounted read-only ({mount_of(folder)}); mount it with rw, or use another folder"
    if error.errno in _FULL:
        return f"is full ({error.strerror}); free some space, or use another folder"
    return f"cannot be written to ({error.strerror})"


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a folder is mounted read-only."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _require_locks(file: Path, what: str) -> None:
    with file.open("rb+") as first, file.open("rb+") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"{what}: {without_locks(file, error)}") from error
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            raise ConfigurationError(f"{what}: {without_locks(file)}")
        fcntl.flock(first, fcntl.LOCK_UN)  # on NFS, the next lock would conflict with it
        try:
            fcntl.lockf(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"{what}: {without_locks(file, error)}; SQLite needs such locks (fcntl)"
            ) from error


def _require_replaced(file: Path, newer: Path, what: str) -> None:
    try:
        with file.open("rb"):  # which some file systems refuse to replace
            newer.replace(file)
        replaced = file.read_bytes() == b"newer"
    except OSError as error:
        if error.errno in _FULL:
            raise
        replaced = False
    if not replaced:
        raise ConfigurationError(
            f"{what}: the file system ({mount_of(file)}) cannot replace a file that is open; use a "
            "folder on another file system"
        )
