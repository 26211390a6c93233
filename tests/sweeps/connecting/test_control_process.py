"""What happens if Ray's control process ends; tests of searches and of machines kill a real one."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from sweeps.connecting import control_process
from sweeps.connecting.control_process import EXIT_CODE, REASON, ControlProcess


def listening() -> socket.socket:
    """A socket that accepts connections, as long as it is open."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            while True:
                server.accept()[0].close()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    return server


def test_a_control_process_that_is_restarted_has_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_process, "_LOOK_SECONDS", 0.01)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    server = listening()
    host, port = server.getsockname()
    found = ControlProcess(f"{host}:{port}", is_own=False, kill=lambda: None)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    time.sleep(0.2)
    with socket.create_server((host, port)):
        time.sleep(1.5)
        assert not found.has_ended
        found.close()


WAITING = """
import threading
from sweeps.connecting.control_process import ControlProcess

ControlProcess("127.0.0.1:1", is_own=True, kill=lambda: print("killed", flush=True))
threading.Event().wait()
"""


def test_a_main_thread_that_waits_for_ray_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1")
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True)
    line = f"sweeps: error: {REASON}; run the same command again to continue\n"
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CODE, "killed\n", line)
