"""The processes of the first trials start early, and only as many as there are trials for."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from quantlab.execution import Execution
from sweeps.connecting import early_workers
from sweeps.connecting.ray_cluster import _first_workers
from sweeps.placement.resources import Resources

PROGRAM = """
import json
import os
import sys
import time

import psutil
import ray

from sweeps.connecting.ray_cluster import connect, disconnect
from sweeps.placement.resources import Resources


def is_worker(process):
    command = " ".join(process.cmdline())
    return "raylet/raylet" not in command and ("default_worker.py" in command or "IDLE" in command)


def workers():
    return [one.pid for one in psutil.Process().children(recursive=True) if is_worker(one)]


connect(Resources(concurrency=3, cpus_per_trial=0.5, pack=2), 3)  # three trials are two packs
deadline = time.monotonic() + 60
while len(early := workers()) < 2 and time.monotonic() < deadline:
    time.sleep(0.1)

from ray.tune.execution.class_cache import _ActorClassCache

import sweeps.running.driver


class Trainable:
    def process(self):
        return os.getpid(), [name for name in ("torch", "ray.tune") if name in sys.modules]


actor = _ActorClassCache().get(Trainable).options(num_cpus=0.5)
actors = [actor.remote(), actor.remote()]
used = ray.get([one.process.remote() for one in actors])
print(json.dumps({"early": early, "used": used}))
disconnect()
"""


def test_the_first_trials_get_the_processes_that_have_started_early() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["early"]) == 2
    assert sorted(pid for pid, _ in seen["used"]) == sorted(seen["early"])
    assert all(modules == ["torch", "ray.tune"] for _, modules in seen["used"])


@pytest.mark.parametrize(
    ("trials", "options", "named", "expected"),
    [
        (100, {"concurrency": 2}, (), 2),
        (100, {}, (), 8),  # not a process for each of 64 CPUs
        (3, {}, (), 3),
        (18, {"pack": 9}, (), 2),
        (18, {"pack": None}, (), 1),  # the number is yet to be measured
        (100, {"cpus_per_trial": 16}, (), 4),
        (100, {}, (32.0,), 2),  # as blocks name them
        (100, {"concurrency": 3, "cpus_per_trial": 0.5}, (), 3),
        (100, {"gpus_per_trial": 1.0}, (), 0),
        (100, {"gpus_per_trial": None}, (), 0),
        (1, {"execution": Execution(replicas=2)}, (), 2),
    ],
)
def test_no_more_processes_start_than_trials_need(
    trials: int, options: dict[str, Any], named: tuple[float, ...], expected: int
) -> None:
    resources = Resources(**options).for_trials(trials, named)
    assert _first_workers(resources, resources.cpus_of_ray(64), trials) == expected


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")
    before = dict(os.environ)
    with early_workers.started(2):
        assert dict(os.environ) != before
    assert dict(os.environ) == before
    with early_workers.started(0):
        assert dict(os.environ) == before
