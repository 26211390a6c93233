"""Permissions and locks of files that several people or processes use."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from quantlab import ConfigurationError
from quantlab.training.checkpoint import set_aside
from sweeps.file_system.probe import is_read_only, not_writable, without_locks

_PAUSES = (0.002, 0.02, 0.1)
"""Seconds between attempts to lock a file that somebody may only look at."""


def adopt_group(folder: Path) -> None:
    """Let the group write to the files that this process creates, if it may write to a folder.

    If the folder does not exist, its nearest parent decides, provided that it has the set-group-ID
    bit, which new folders inherit.
    """
    exists = folder.exists()
    while not folder.exists():
        folder = folder.parent
    mode = folder.stat().st_mode
    if exists or mode & stat.S_ISGID:
        mask = os.umask(0o077)
        os.umask(mask & ~(mode & stat.S_IRWXG))


def share(file: Path) -> None:
    """Let the group write to a file of this user, if it may write to the folder."""
    if file.exists() and file.stat().st_uid == os.getuid():
        mode = file.stat().st_mode
        if missing := file.parent.stat().st_mode & stat.S_IWGRP & ~mode:
            file.chmod(mode | missing)


def require_writable(path: Path, what: str) -> None:
    """Check that this process can write to a file or folder, if it exists.

    Args:
        path: the file or folder.
        what: start of the message, such as ``--storage DIR``.

    Raises:
        ConfigurationError: it is not writable; the message names its owner, or says that its file
            system is mounted read-only.
    """
    if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
        if is_read_only(path):
            error = OSError(errno.EROFS, os.strerror(errno.EROFS))
            raise ConfigurationError(f"{what}: {not_writable(path, error)}")
        raise ConfigurationError(f"{what}: {_not_yours(path)}")


def lock(path: Path, how: int) -> BinaryIO:
    """Lock a file, which is created if it does not exist.

    Args:
        path: the file.
        how: the operation of `fcntl.flock`.

    Returns:
        The open file. Closing it releases the lock, and so does the death of the process.

    Raises:
        BlockingIOError: another process holds the lock, and `how` has ``LOCK_NB``.
        ConfigurationError: the file belongs to another user, or the file system does not support
            locks.
    """
    file = open(_opened(path), "rb")  # noqa: SIM115  (open for as long as the lock is held)
    try:
        fcntl.flock(file, how)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise
        raise ConfigurationError(f"{path}: {without_locks(path, error)}") from error
    return file


def lock_at_once(path: Path) -> BinaryIO | None:
    """Lock a file for this process alone; None if another process holds it for longer.

    Whoever looks with `is_held` shares the lock for a moment, which is waited for.
    """
    for pause in (*_PAUSES, None):
        try:
            return lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is not None:
                time.sleep(pause)
    return None


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock within a `with` block; see `lock`."""
    with lock(path, how):
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds an exclusive lock on a file; True if that cannot be determined.

    The check takes a shared lock for a moment, so that several processes can check at once.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):  # something else is in its place
            return False
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _opened(path: Path) -> int:
    if path.is_dir():
        set_aside(path)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    try:
        return os.open(path, os.O_RDONLY)  # most file systems can lock a file opened for reading
    except OSError as error:
        raise ConfigurationError(_not_yours(path)) from error


def _not_yours(path: Path) -> str:
    try:
        owner = path.owner()
    except KeyError:  # the user ID has no name
        owner = str(path.stat().st_uid)
    except OSError:
        return f"{path} cannot be created; check the permissions of {path.parent}"
    return f"{path} belongs to {owner} and is not writable; ask {owner} to run `chmod -R g+w` on it"
