"""Meeting: the files by which the machines of a command find out whether they share locks.

A lock may be valid on one machine only, without an error: on NFS that is mounted with `nolock`, on
most file systems of FUSE such as sshfs, and among NFS clients that have the same host name. Then
two machines train the same trial. So the driver holds a lock for as long as it runs, which each
other machine must find held, and they hold locks, which the driver must find held::

    <storage>/.machines/<driver>/driver        locked by the driver
                                 <name>.lock   locked by a process on another machine
                                 <name>.new    written by it, looked for by the driver
                                 <name>.answer written by the driver, looked for by that process
"""

import fcntl
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from quantlab import ConfigurationError
from sweeps.file_system.mounts import mount_of
from sweeps.file_system.probe import without_locks

FOLDER = ".machines"
VISIBLE_SECONDS = 2.0
"""How long a new file may take to be seen on another machine without a warning."""
_DRIVER = "driver"
_SEPARATOR = "~"


@dataclass(frozen=True)
class Meeting:
    """The folder with these files; the driver sends it to the other machines."""

    root: Path
    """The folder of `--storage`."""
    name: str
    """Name of the folder, which is unique for each driver."""
    host: str
    """The machine of the driver."""

    @property
    def folder(self) -> Path:
        """The folder with the files."""
        return self.root / FOLDER / self.name

    def require_drivers_lock(self) -> None:
        """Check, on another machine than the driver's, that the lock of the driver is held.

        Raises:
            ConfigurationError: the driver's lock is not valid on this machine.
            OSError: the file of the lock cannot be read.
        """
        if not _is_held(self.folder / _DRIVER):
            here = platform.node()
            raise ConfigurationError(
                f"--storage {self.root}: machine {here} does not see the locks of the driver on "
                f"{self.host} ({mount_of(self.root)}); {self._remedy(here)}"
            )

    def require_lock_of(self, name: str, host: str) -> None:
        """Check, in the driver, that a lock of another machine is held.

        Args:
            name: name of the lock; see `lock`.
            host: the machine that holds it.

        Raises:
            ConfigurationError: the lock is not valid on the driver's machine.
        """
        file = self.folder / f"{name}.lock"
        try:
            held = _waited_for(file) and _is_held(file)
        except OSError:
            held = False
        if not held:
            raise ConfigurationError(
                f"--storage {self.root}: the driver on {self.host} does not see the locks of "
                f"machine {host} ({mount_of(self.root)}); {self._remedy(host)}"
            )

    def lock(self, name: str) -> BinaryIO:
        """Hold a lock that the driver looks at, until the returned file is closed.

        Args:
            name: a name that no other process uses.

        Raises:
            ConfigurationError: the file system does not support locks.
            OSError: the file cannot be written.
        """
        path = self.folder / f"{name}.lock"
        file = path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ConfigurationError(f"{path}: {without_locks(path, error)}") from error
        return file

    def exists(self, file: str) -> bool:
        """Return whether a file of the folder exists, as this machine sees it now."""
        return (self.folder / file).exists()

    def show(self, file: str) -> None:
        """Write a file that another machine looks for."""
        (self.folder / file).write_bytes(b"")

    def late(self, file: str) -> str:
        """Wait for a file that another machine has written.

        A network file system may remember for a while that a file did not exist.

        Returns:
            A warning if this machine does not see the file soon; else empty text.
        """
        if _waited_for(self.folder / file):
            return ""
        mount = mount_of(self.root)
        return (
            f"--storage {self.root}: machine {platform.node()} does not see new files of other "
            f"machines within {VISIBLE_SECONDS:g} s ({mount}), so that states are shown late; "
            f"{mount.for_new_files()}"
        )

    def _remedy(self, host: str) -> str:
        mount = mount_of(self.root)
        if host == self.host and mount.is_nfs:  # its server takes them for one client
            return f"give each machine a host name of its own, or {mount.for_locks()}"
        return mount.for_locks()


@contextmanager
def meeting(root: Path) -> Iterator[Meeting]:
    """Hold the lock of the driver, and remove its folder at the end.

    Args:
        root: the folder of `--storage`, which exists and supports locks.
    """
    host = platform.node()
    _remove_those_of_the_dead(root / FOLDER, host)
    name = _SEPARATOR.join((host, str(os.getpid()), secrets.token_hex(4)))
    own = Meeting(root, name, host)
    own.folder.mkdir(parents=True)
    try:
        with (own.folder / _DRIVER).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield own
    finally:
        shutil.rmtree(own.folder, ignore_errors=True)


def _remove_those_of_the_dead(folder: Path, host: str) -> None:
    """Remove what drivers on this machine have left that were killed."""
    for path in folder.glob(f"{host}{_SEPARATOR}*"):
        process = path.name.split(_SEPARATOR)[1]
        with suppress(OSError):
            is_alive = process.isdigit() and psutil.pid_exists(int(process))
            if not is_alive and not _is_held(path / _DRIVER):
                shutil.rmtree(path, ignore_errors=True)


def _is_held(path: Path) -> bool:
    """Return whether a lock is held; reading the file must be enough, as it may be of another user.

    Raises:
        OSError: the file cannot be read, or the file system does not support locks.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _waited_for(path: Path) -> bool:
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
