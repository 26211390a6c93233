"""ControlProcess: notices that Ray's control process (`gcs_server`) has ended.

Ray itself notices after a minute, and then ends the process of the command at once, with exit code
1 and without a chance to deliver or to tell anything. Calls of Ray that need the control process
wait until then.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

EXIT_CODE = 3
"""`sweeps.cli.exit_codes.EXIT_CUT_SHORT`."""
REASON = "Ray's control process (gcs_server) has ended"

_LOOK_SECONDS = 1.0
"""Time between two looks, each of which is a connection."""
_OWN_SECONDS = 2.0
"""For how long the control process of a Ray of this command may be away. Nobody restarts it."""
_RAYS_SECONDS = 60.0
"""After this time without the control process, Ray ends all of its processes."""
_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Environment variable that sets another time."""
_PATIENCE, _END = 0.6, 0.9
"""Parts of this time: for how long that of a cluster may be away; and the last moment to end this
process."""
_STUCK = 0.2
"""Part of this time after which a main thread that does not react waits for Ray."""


class ControlLost(BaseException):
    """The control process has ended.

    It is no `Exception`, because Tune would then clean up its trials, and wait for Ray.
    """


class ControlProcess:
    """Looks regularly whether the control process answers, in a thread.

    The main thread asks `has_ended`. If it is stuck in a call of Ray, or takes too long to end, the
    thread ends the process.
    """

    def __init__(self, address: str, *, is_own: bool, kill: Callable[[], object]) -> None:
        """Begin to look.

        Args:
            address: HOST:PORT of the control process.
            is_own: whether it belongs to a Ray that this command has started. That of a cluster may
                be restarted.
            kill: kills the processes of a Ray that this command has started.
        """
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._rays_seconds = _seconds_of_ray()
        self._patience = _OWN_SECONDS if is_own else _PATIENCE * self._rays_seconds
        self._kill = kill
        self._ended = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._look, name="ray-control-process", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether it has been away for so long that this command must end."""
        return self._ended.is_set()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _look(self) -> None:
        answered = time.monotonic()
        while not self._closed.wait(_LOOK_SECONDS):
            try:
                socket.create_connection(self._address, timeout=_LOOK_SECONDS).close()
                answered = time.monotonic()
            except OSError:
                if time.monotonic() - answered >= self._patience:
                    self._ended.set()
                    self._end(answered)

    def _end(self, answered: float) -> None:
        """End the process, unless the main thread does so in time."""
        if self._closed.wait(_STUCK * self._rays_seconds):
            time.sleep(max(0.0, answered + _END * self._rays_seconds - time.monotonic()))
        self._kill()
        line = f"sweeps: error: {REASON}; run the same command again to continue"
        print(line, file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)


def _seconds_of_ray() -> float:
    try:
        return float(os.environ[_VARIABLE])
    except (KeyError, ValueError):
        return _RAYS_SECONDS
