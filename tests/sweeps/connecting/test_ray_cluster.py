"""A Ray of one command: its start, signals meanwhile, and leaving it."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import gc
import json
import os
import signal
import threading

import psutil
import ray

from sweeps.connecting.ray_cluster import connect, disconnect
from sweeps.placement.resources import Resources

signal.signal(signal.SIGTERM, signal.SIG_IGN)
connect(Resources(concurrency=1), 1)
seen = {"started": [" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True)]}

os.kill(os.getpid(), signal.SIGTERM)
try:
    os.kill(os.getpid(), signal.SIGUSR1)
except KeyboardInterrupt:
    seen["told"] = "once"

gc.disable()


class Cycle:
    def __init__(self):
        self.me, self.reference = self, ray.put(1)


for _ in range(20):
    Cycle()


def collect():  # as Python does when a thread has created enough objects
    if gc.isenabled():
        gc.collect()


class Worker:  # Ray's; another thread collects garbage right after it has been shut down
    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def shutdown_driver(self):
        self.real.shutdown_driver()
        thread = threading.Thread(target=collect)
        thread.start()
        thread.join()


ray._private.worker.global_worker.core_worker = Worker(
    ray._private.worker.global_worker.core_worker
)
gc.set_threshold(1_000_000)
gc.enable()
disconnect()
assert gc.isenabled()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def ended() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def seen(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_garbage_collection_of_another_thread_does_not_end_the_process(
    ended: subprocess.CompletedProcess[str],
) -> None:
    """Ray ends a process that frees a reference while the worker is being shut down."""
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_what_a_batch_script_ignores_stays_ignored_after_ray_has_started(
    seen: dict[str, Any],
) -> None:
    """Such as SIGTERM, which SLURM sends to all processes of a job, and the script on its own."""
    assert seen["told"] == "once"


def test_no_process_is_started_that_a_sweep_has_no_use_for(seen: dict[str, Any]) -> None:
    started = "\n".join(seen["started"])
    assert "gcs_server" in started
    assert "/raylet " in started
    for unused in ("monitor.py", "dashboard.py", "log_monitor.py"):
        assert f"/{unused} " not in started
