"""The processes of the first trials start early, if there are trials for all of them."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from quantlab.execution import Execution
from sweeps.connecting import early_workers
from sweeps.connecting.ray_cluster import _start_early
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

from sweeps.connecting import early_workers


class Trainable:
    def process(self):
        return os.getpid(), [name for name in ("torch", "ray.tune") if name in sys.modules]


with early_workers.used_by_tune():
    actor = _ActorClassCache().get(Trainable).options(num_cpus=0.5)
actors = [actor.remote(), actor.remote()]
used = ray.get([one.process.remote() for one in actors])
print(json.dumps({"early": early, "used": used}))
disconnect()
"""


def test_the_first_trials_get_the_processes_that_have_started_early() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "AWS_ACCESS_KEY_ID": "key"},  # which Tune would give to its own
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["early"]) == 2
    assert sorted(pid for pid, _ in seen["used"]) == sorted(seen["early"])
    assert all(modules == ["torch", "ray.tune"] for _, modules in seen["used"])


@pytest.mark.parametrize(
    ("machine", "trials", "options", "named", "expected"),
    [
        (2, 100, {}, (), True),
        (8, 8, {}, (), True),
        (8, 7, {}, (), False),  # a process would have no trial
        (64, 100, {}, (), False),
        (64, 100, {"concurrency": 2}, (), True),  # with which Ray has two CPUs
        (64, 100, {"concurrency": 2, "cpus_per_trial": 4}, (), False),
        (2, 100, {"concurrency": 4}, (), True),  # a process for each CPU of the machine
        (2, 18, {"pack": 9}, (), True),
        (2, 9, {"pack": 9}, (), False),
        (2, 18, {"pack": None}, (), False),  # the number is yet to be measured
        (4, 100, {}, (2.0,), False),  # blocks name two CPUs
        (2, 100, {"concurrency": 3, "cpus_per_trial": 0.5}, (), True),
        (2, 100, {"gpus_per_trial": 1.0}, (), False),
        (2, 100, {"gpus_per_trial": None}, (), False),
        (2, 1, {"execution": Execution(replicas=2)}, (), True),
    ],
)
def test_processes_start_early_if_trials_need_all_that_ray_would_start(
    machine: int,
    trials: int,
    options: dict[str, Any],
    named: tuple[float, ...],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    resources = Resources(**options).for_trials(trials, named)
    assert _start_early(resources, resources.cpus_of_ray(machine), trials) is expected


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_preload_python_modules", raising=False)
    monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")
    before = dict(os.environ)
    with early_workers.started(True):
        assert dict(os.environ) != before
    assert dict(os.environ) == before
    with early_workers.started(False):
        assert dict(os.environ) == before
    monkeypatch.setenv("RAY_preload_python_modules", "numpy")  # somebody's own
    before = dict(os.environ)
    with early_workers.started(True):
        assert dict(os.environ) == before
