"""RayProcesses: notices that a process has ended without which Ray trains nothing.

Ray itself notices after ten seconds to a minute, and then ends the process of the command at once,
with exit code 1 and without a chance to deliver or to tell anything. Calls of Ray that need its
control process wait until then.
"""

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

EXIT_CODE = 3
"""`sweeps.cli.exit_codes.EXIT_CUT_SHORT`."""
NO_CONTROL = "Ray's control process (gcs_server) has ended"
NO_RAYLET = "Ray's process on this machine (raylet) has ended"

_LOOK_SECONDS = 1.0
"""Time between two looks, each of which is a connection."""
_OWN_SECONDS = 2.0
"""For how long the control process of a Ray of this command may be away. Nobody restarts it."""
_RAYS_SECONDS = 60.0
"""After this time without the control process, Ray ends all of its processes."""
_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Environment variable that sets another time."""
_PATIENCE, _END = 0.6, 0.9
"""Parts of this time: for how long the control process of a cluster may be away; and the last
moment to end this process."""
_STUCK = 0.2
"""Part of this time after which a main thread that does not react waits for Ray."""


class RayLost(BaseException):
    """A process has ended without which Ray trains nothing; the message names it.

    It is no `Exception`, because Tune would then clean up its trials, and wait for Ray.
    """


class RayProcesses:
    """Looks regularly whether the processes are there, in a thread.

    The main thread calls `require`. If it is stuck in a call of Ray, or takes too long to end, the
    thread ends the process.
    """

    def __init__(
        self,
        address: str,
        raylet: psutil.Process | None,
        *,
        is_own: bool,
        kill: Callable[[], object],
    ) -> None:
        """Begin to look.

        Args:
            address: HOST:PORT of the control process.
            raylet: the raylet of this machine; None if it is unknown.
            is_own: whether they belong to a Ray that this command has started. The control process
                of a cluster may be restarted.
            kill: kills the processes of a Ray that this command has started.
        """
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._raylet = raylet
        self._rays_seconds = _seconds_of_ray()
        self._patience = _OWN_SECONDS if is_own else _PATIENCE * self._rays_seconds
        self._kill = kill
        self._lost = ""
        self._closed = threading.Event()
        self._answered = time.monotonic()
        threading.Thread(target=self._look, name="ray-processes", daemon=True).start()

    def require(self) -> None:
        """Check that nothing has ended.

        Raises:
            RayLost: a process has.
        """
        if self._lost:
            raise RayLost(self._lost)

    @property
    def is_lost(self) -> bool:
        """Whether `require` raises an error."""
        return bool(self._lost)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            lost = ""
            if self._raylet is not None and not _is_alive(self._raylet):
                lost = NO_RAYLET
            elif not self._has_control():
                lost = NO_CONTROL
            if lost and not self._closed.is_set():  # else this process has ended Ray meanwhile
                self._lost = lost
                self._end()

    def _has_control(self) -> bool:
        try:
            socket.create_connection(self._address, timeout=_LOOK_SECONDS).close()
        except OSError as error:
            is_ours = error.errno in (errno.EMFILE, errno.ENFILE)  # too many files are open here
            return is_ours or time.monotonic() - self._answered < self._patience
        self._answered = time.monotonic()
        return True

    def _end(self) -> None:
        """End the process, unless the main thread does so in time."""
        if self._closed.wait(_STUCK * self._rays_seconds):
            last = self._answered + _END * self._rays_seconds
            time.sleep(max(0.0, last - time.monotonic()))
        with suppress(Exception):  # the main thread may do it, too, or Ray be of another version
            self._kill()
        line = f"sweeps: error: {self._lost}; run the same command again to continue"
        print(line, file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)


def raylet_of(socket_name: str) -> psutil.Process | None:
    """Return the raylet of this machine that listens on a socket; None if it is not found."""
    for process in psutil.process_iter():
        try:
            if process.name() == "raylet" and any(
                argument == f"--raylet_socket_name={socket_name}" for argument in process.cmdline()
            ):
                return process
        except psutil.Error:  # it has just ended, or is another user's
            continue
    return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _seconds_of_ray() -> float:
    try:
        return float(os.environ[_VARIABLE])
    except (KeyError, ValueError):
        return _RAYS_SECONDS
