"""What happens if a process of Ray ends; tests of searches and of machines kill a real one."""

import errno
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sweeps.connecting import ray_processes
from sweeps.connecting.ray_processes import (
    EXIT_CODE,
    NO_CONTROL,
    NO_RAYLET,
    RayLost,
    RayProcesses,
    raylet_of,
)
from tests.services import wait_until


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
    monkeypatch.setattr(ray_processes, "_LOOK_SECONDS", 0.01)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    server = listening()
    host, port = server.getsockname()
    found = RayProcesses(f"{host}:{port}", None, is_own=False, kill=lambda: None)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    time.sleep(0.2)
    with socket.create_server((host, port)):
        time.sleep(1.5)
        assert not found.is_lost
        found.close()


WAITING = """
import threading
from sweeps.connecting.ray_processes import RayProcesses

RayProcesses("127.0.0.1:1", None, is_own=True, kill=lambda: print("killed", flush=True))
threading.Event().wait()
"""


@pytest.mark.parametrize("kill", ['print("killed", flush=True)', "1 / 0"], ids=["killed", "error"])
def test_a_main_thread_that_waits_for_ray_does_not_hold_up_the_end(
    kill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1")
    script = WAITING.replace('print("killed", flush=True)', kill)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    line = f"sweeps: error: {NO_CONTROL}; run the same command again to continue\n"
    printed = "killed\n" if "print" in kill else ""
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CODE, printed, line)


@pytest.mark.parametrize(
    ("number", "is_lost"), [(errno.EMFILE, False), (errno.ECONNREFUSED, True)], ids=["own", "other"]
)
def test_too_many_open_files_of_this_process_are_no_end_of_ray(
    number: int, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, "no connection")

    monkeypatch.setattr(ray_processes, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray_processes, "_OWN_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1e6")
    found = RayProcesses("127.0.0.1:1", None, is_own=True, kill=lambda: None)
    time.sleep(0.5)
    found.close()
    assert found.is_lost == is_lost


def test_a_raylet_that_ends_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_processes, "_LOOK_SECONDS", 0.01)
    # The thread would end this process, which the tests need, soon before Ray does.
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1e6")
    name = str(tmp_path / "socket")
    script = "import time; time.sleep(60)"
    raylet = tmp_path / "raylet"
    shutil.copy(sys.executable, raylet)
    with (
        listening() as server,
        subprocess.Popen([raylet, "-S", "-c", script, f"--raylet_socket_name={name}"]) as process,
    ):
        found = raylet_of(name)
        assert found is not None
        assert found.pid == process.pid
        host, port = server.getsockname()
        processes = RayProcesses(f"{host}:{port}", found, is_own=True, kill=lambda: None)
        time.sleep(0.1)
        processes.require()
        process.kill()
        wait_until("the end is noticed", lambda: processes.is_lost)
        processes.close()
        with pytest.raises(RayLost, match=re.escape(NO_RAYLET)):
            processes.require()


class EndedAfterwards(psutil.Process):
    """A process that ends while it is looked at, after this process has closed its connection."""

    processes: RayProcesses

    def is_running(self) -> bool:
        self.processes.close()
        return False


def test_what_ends_after_the_connection_is_closed_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_processes, "_LOOK_SECONDS", 0.2)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1e6")
    before = threading.enumerate()
    raylet = EndedAfterwards()
    raylet.processes = RayProcesses("127.0.0.1:1", raylet, is_own=True, kill=lambda: None)
    (thread,) = set(threading.enumerate()) - set(before)
    thread.join(20)
    assert not thread.is_alive()
    assert not raylet.processes.is_lost
