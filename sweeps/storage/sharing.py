"""Files that several people work on: whose they are, who may write, and one at a time."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from quantlab import ConfigurationError
from quantlab.training.checkpoint import set_aside


def adopt_group(folder: Path) -> None:
    """Let the group write to what this process makes, if it may write to the folder.

    A folder that is not there yet is to its nearest parent as the set-group-id bit says.
    """
    is_there = folder.exists()
    while not folder.exists():
        folder = folder.parent
    mode = folder.stat().st_mode
    if is_there or mode & stat.S_ISGID:
        mask = os.umask(0o077)
        os.umask(mask & ~(mode & stat.S_IRWXG))


def share(file: Path) -> None:
    """Let the group write to a file of one's own, if it may write to its folder."""
    if file.exists() and file.stat().st_uid == os.getuid():
        mode = file.stat().st_mode
        if missing := file.parent.stat().st_mode & stat.S_IWGRP & ~mode:
            file.chmod(mode | missing)


def require_writable(path: Path, what: str) -> None:
    """A file or folder, if it is there, can be written to.

    Args:
        path: of it.
        what: the message begins with, such as ``--storage DIR``.

    Raises:
        ConfigurationError: it cannot; the message says whose it is.
    """
    if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
        raise ConfigurationError(f"{what}: {_not_yours(path)}")


def lock(path: Path, how: int) -> BinaryIO:
    """Take a lock on a file, which is made if it is not there.

    Args:
        path: of the file.
        how: as `fcntl.flock` has it.

    Returns:
        The open file. The lock is held until it is closed; a process that dies lets go of it.

    Raises:
        BlockingIOError: another process holds it, and `how` says not to wait.
        ConfigurationError: the file is somebody else's, or the file system cannot lock files.
    """
    file = open(_opened(path), "rb")  # noqa: SIM115  (open for as long as the lock is held)
    try:
        fcntl.flock(file, how)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise
        raise ConfigurationError(
            f"{path}: its file system cannot lock files ({error.strerror})"
        ) from error
    return file


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock for the time of a `with` block; see `lock`."""
    with lock(path, how):
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds a lock on a file; also where that cannot be found out.

    The lock is taken for a moment, together with whoever else asks, and let go of.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):  # what has come into its place is nobody's
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
    except PermissionError:
        pass
    try:
        return os.open(path, os.O_RDONLY)  # which is enough for a lock on most file systems
    except OSError as error:
        raise ConfigurationError(_not_yours(path)) from error


def _not_yours(path: Path) -> str:
    try:
        owner = path.owner()
    except KeyError:  # a number without a name
        owner = str(path.stat().st_uid)
    except OSError:
        return f"{path} cannot be made"
    return (
        f"{path} belongs to {owner} and cannot be written to; {owner} can change that with "
        f"`chmod -R g+w`"
    )
