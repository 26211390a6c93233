"""Ray: started on this machine, or connected to as a cluster."""

import logging
import math
import os
import socket
import sys
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError

from quantlab import ConfigurationError
from quantlab.errors import in_full
from sweeps.placement.pack_probe import alive_nodes
from sweeps.placement.resources import Resources, usable_cpus
from sweeps.running import signals

PENDING_TRIALS = 200
"""Trials that wait in Ray for a free place at once, which is what a cluster grows by."""


def connect(resources: Resources) -> int:
    """Start Ray here, or connect to a cluster; how many trials may wait in Ray for a place.

    Raises:
        ConfigurationError: the cluster does not answer, or this machine has too few CPUs or GPUs.
    """
    address = resources.address or os.environ.get("RAY_ADDRESS")  # as set in a submitted job
    if address is None:
        limit = resources.concurrency
        cpus = usable_cpus() if limit is None else max(1, math.ceil(limit * resources.cpus))
        try:
            # Plain None would also take up any cluster that happens to run on this machine.
            _init("local", num_cpus=cpus, include_dashboard=False)
        except Exception as error:  # Ray raises many kinds
            hint = "; a shorter TMPDIR, such as /tmp, helps" if "AF_UNIX" in str(error) else ""
            raise ConfigurationError(
                f"Ray does not start on this machine ({in_full(error)}){hint}"
            ) from error
    else:
        if address.startswith("ray://"):
            raise ConfigurationError(
                f"--address {address}: Ray's client is not supported; give HOST:PORT or auto on a "
                "machine of the cluster, or use `ray job submit`"
            )
        try:
            _require_answer(address)
            _init(address)
        except Exception as error:  # Ray raises many kinds
            raise ConfigurationError(f"--address {address}: {_why_not_connected(error)}") from error
    nodes = alive_nodes()
    available = {kind: max(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    for option, kind, needed in (
        ("--cpus-per-trial", "CPU", resources.cpus),
        ("--gpus-per-trial", "GPU", resources.gpus),
    ):
        there = available[kind]
        if needed > there:
            if address is None:
                disconnect()
                raise ConfigurationError(
                    f"{option} {needed:g}: there are {there:g} {kind}s on this machine"
                )
            print(
                f"sweeps: {option} {needed:g}: no machine of the cluster has more than {there:g} "
                f"{kind}s yet; trials wait for one",
                file=sys.stderr,
            )
    return PENDING_TRIALS if address else max(2, int(available["CPU"]))


def disconnect() -> None:
    """Leave the cluster, or end Ray if it was started here.

    Ray asks its processes one after the other to end, by a signal that is blocked in them (see
    `_init`), and kills each of them after a second. Their own children stay for a minute longer.
    There is no public way to skip the waiting. Where a version of Ray has other internals, this
    function is `ray.shutdown` and takes some seconds more.
    """
    node: Any = getattr(ray._private.worker, "_global_node", None)
    kill = getattr(node, "kill_all_processes", None)
    if kill is None:
        ray.shutdown()
        return
    started: list[psutil.Process] = []

    def kill_at_once(*arguments: Any, **options: Any) -> None:
        for info in node.all_processes.get("raylet", ()):
            with suppress(psutil.NoSuchProcess):
                started.extend(psutil.Process(info.process.pid).children(recursive=True))
        if "allow_graceful" in options:
            options["allow_graceful"] = False
        kill(*arguments, **options)

    node.kill_all_processes = kill_at_once
    ray.shutdown()
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _init(address: str, **options: Any) -> None:
    """Let Ray start, or connect, in a way that suits batch jobs and whatever the folder holds.

    Workers look for modules first where Ray's driver stood when it connected; in the user's folder
    that might be a clone of this project, or anything of a name of its packages.
    """
    if paths := os.environ.get("PYTHONPATH"):  # which would be relative to another folder then
        absolute = (os.path.abspath(path) for path in paths.split(os.pathsep) if path)
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)
    with chdir(Path(__file__).parents[2]), signals.blocked_in_children():
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    signals.interrupt_on_signals()  # Ray takes SIGTERM for itself


def _why_not_connected(error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        mode = os.environ.get("RAY_AUTH_MODE")
        hint = "it must be the cluster's own" if mode == "token" else "set RAY_AUTH_MODE=token"
        return f"the Ray cluster does not accept the token, or wants one; {hint}"
    if "mismatch" in str(error):
        return f"the Ray cluster is of other versions ({in_full(error)})"
    hint = "" if "RAY_AUTH_MODE" in os.environ else "; one with a token: RAY_AUTH_MODE=token"
    return f"no Ray cluster ({in_full(error)}){hint}"


def _require_answer(address: str) -> None:
    """Knock at HOST:PORT first, because Ray itself waits for minutes; other forms pass."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
