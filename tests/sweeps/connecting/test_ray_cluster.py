"""Leaving Ray."""

import subprocess
import sys

PROGRAM = """
import gc
import threading

import ray

from sweeps.connecting.ray_cluster import disconnect

gc.disable()
ray.init(num_cpus=1, log_to_driver=False, logging_level=40, include_dashboard=False)


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
print("disconnected")
"""


def test_a_garbage_collection_of_another_thread_does_not_end_the_process() -> None:
    """Ray ends a process that frees a reference while the worker is being shut down."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, "disconnected\n"), ended.stderr
