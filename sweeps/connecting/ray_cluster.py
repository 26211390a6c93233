"""Start Ray on this machine, or connect to a Ray cluster."""

import atexit
import gc
import logging
import math
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError

from quantlab import ConfigurationError
from quantlab.errors import in_full
from sweeps.connecting import early_workers, signals, unused_processes
from sweeps.connecting.ray_processes import RayProcesses, raylet_of
from sweeps.nodes.users import require_own_cluster
from sweeps.placement.pack_probe import alive_nodes
from sweeps.placement.resources import Resources, mig_instances, times_in, usable_cpus

PENDING_TRIALS = 200
"""How many trials may be pending on a cluster, whose autoscaler adds machines for them."""


_MOST_EARLY = 8
"""Largest number of processes that start early. For as many trials as a larger machine has CPUs,
there may be too little memory."""

_EXIT_HANDLERS = (
    ("ray._private.worker", "shutdown"),
    ("ray.tune.registry", "_unregister_all"),
)
"""Modules and functions that Ray calls when this process ends, and that need its control process.
If a version of Ray has others, `RayProcesses` ends this process a minute later."""

_processes: RayProcesses | None = None
"""Those of the Ray to which this process is connected."""


def require_ray() -> None:
    """Check that Ray has the processes without which it trains nothing.

    Raises:
        RayLost: one of them has ended.
    """
    if _processes is not None:
        _processes.require()


def cluster_address(resources: Resources) -> str | None:
    """Return the address of the cluster, as given or set in a submitted job; None without one."""
    return resources.address or os.environ.get("RAY_ADDRESS")


def connect(resources: Resources, trials: int) -> int:
    """Start Ray on this machine, or connect to a cluster.

    Args:
        resources: the address, and the resources of each trial.
        trials: how many are to be trained, >= 1.

    Returns:
        How many trials may be pending in Ray.

    Raises:
        ConfigurationError: Ray does not start, the cluster does not answer or belongs to another
            user, or this machine has too few CPUs or GPUs.
    """
    address = cluster_address(resources)
    if address is None:
        cpus = resources.cpus_of_ray(usable_cpus())
        try:
            early = early_workers.started(_start_early(resources, cpus, trials))
            # None would also connect to any cluster that happens to run on this machine.
            with unused_processes.not_started(), early:
                _init("local", num_cpus=cpus, num_gpus=mig_instances(), include_dashboard=False)
        except Exception as error:  # Ray raises many types
            is_long = "AF_UNIX" in str(error)
            hint = "; set TMPDIR to a shorter path, such as /tmp" if is_long else ""
            raise ConfigurationError(
                f"Ray does not start on this machine ({in_full(error)}){hint}"
            ) from error
    else:
        if address.startswith("ray://"):
            raise ConfigurationError(
                f"--address {address}: Ray Client is not supported; run the command on a machine "
                "of the cluster with HOST:PORT or auto, or use `ray job submit`"
            )
        require_own_cluster(address)
        try:
            _require_answer(address)
            _init(address)
        except Exception as error:  # Ray raises many types
            raise ConfigurationError(f"--address {address}: {_why_not_connected(error)}") from error
    global _processes
    _processes = RayProcesses(
        ray.get_runtime_context().gcs_address,
        raylet_of(_own_node().raylet_socket_name),
        is_own=address is None,
        kill=_kill_own,
    )
    nodes = alive_nodes()
    available = {kind: max(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    for option, kind, needed in (
        (f"--gpus-per-trial {resources.gpus:g}", "GPU", resources.gpus),
        (resources.cpus_option, "CPU", resources.cpus),
    ):
        there = available[kind]
        if address is None and needed > there:
            disconnect()
            raise ConfigurationError(
                f"{option}: this machine has {there:g} {kind}s; must not be more"
            )
        replicas = resources.execution.replicas
        if needed / replicas > there:
            of_each = f", {needed / replicas:g} for each of {replicas} processes" * (replicas > 1)
            print(
                f"sweeps: warning: {option}{of_each}: no machine of the cluster has "
                f"more than {there:g} {kind}s; trials are pending until such a machine joins",
                file=sys.stderr,
            )
    return PENDING_TRIALS if address else max(2, int(available["CPU"]))


def _start_early(resources: Resources, cpus: int, trials: int) -> bool:
    """Return whether the processes of the first trials or packs start early, see `early_workers`.

    Ray starts one for each of its CPUs that the machine has. They do not if trials need fewer,
    because a process without a trial would keep its memory, or if they use GPUs: a process learns
    which one it has with its trial, which may be too late for imported libraries.
    """
    if resources.gpus_per_trial != 0:
        return False
    packs = math.ceil(trials / resources.pack) if resources.pack else 1
    packs = min(packs, resources.concurrency or packs)
    of_each = max(resources.cpus, resources.most_cpus)
    needed = min(times_in(cpus, of_each), packs) * resources.execution.replicas
    return min(cpus, os.cpu_count() or 1) <= min(needed, _MOST_EARLY)


def disconnect() -> None:
    """Disconnect from the cluster, or end Ray if it was started on this machine.

    `ray.shutdown` sends its processes a signal that they block (see `_init`), one after the other,
    and kills each after a second. Processes that these have started are left behind for a minute.
    So all of them are killed at once here. If a version of Ray has other internals, this function
    only calls `ray.shutdown`, which takes some seconds more.
    """
    if _processes is not None:
        _processes.close()
        if _processes.is_lost:
            _leave()
            return
    node = _own_node()
    kill = getattr(node, "kill_all_processes", None)
    if kill is None:
        _shut_down()
        return
    started: list[psutil.Process] = []

    def kill_at_once(*arguments: Any, **options: Any) -> None:
        started.extend(_started_by(node))
        if "allow_graceful" in options:
            options["allow_graceful"] = False
        kill(*arguments, **options)

    node.kill_all_processes = kill_at_once
    _shut_down()
    _kill(started)


def _leave() -> None:
    """Leave a Ray of which a process has ended, for which its exit handlers would wait in vain."""
    for module, name in _EXIT_HANDLERS:
        if handler := getattr(sys.modules.get(module), name, None):
            atexit.unregister(handler)
    _kill_own()


def _kill_own() -> None:
    """Kill the processes of Ray if it was started on this machine."""
    if (node := _own_node()) is not None:
        started = _started_by(node)
        node.kill_all_processes(check_alive=False, allow_graceful=False)
        _kill(started)


def _own_node() -> Any:
    """Return Ray's object of the processes that it has started for this one; None without any."""
    return getattr(ray._private.worker, "_global_node", None)


def _started_by(node: Any) -> list[psutil.Process]:
    """Return the processes that those of Ray on this machine have started."""
    started: list[psutil.Process] = []
    for info in node.all_processes.get("raylet", ()):
        if info.process.poll() is not None:
            continue  # it has ended, and another process may have its number
        with suppress(psutil.Error):
            started.extend(psutil.Process(info.process.pid).children(recursive=True))
    return started


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _shut_down() -> None:
    """Shut Ray down without garbage collections in the meantime.

    Another thread, such as that of the delivery, may collect a reference to an object of Ray. If
    that happens after Ray's worker has been shut down and before its Python object is gone, Ray
    ends the process with exit code 1.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


def _init(address: str, **options: Any) -> None:
    """Initialize Ray such that neither signals nor the current folder have an effect on workers.

    Workers search for modules in the folder in which the driver called `ray.init`. The user's
    folder may hold modules with the names of ours, such as another clone of this project.
    """
    if paths := os.environ.get("PYTHONPATH"):  # relative paths would refer to another folder
        absolute = (os.path.abspath(path) for path in paths.split(os.pathsep) if path)
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)
    with (
        signals.ignored_as_before(),
        signals.blocked_in_children(),
        chdir(Path(__file__).parents[2]),
    ):
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    signals.interrupt_on_signals()  # Ray has replaced the handler of SIGTERM


def _why_not_connected(error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        mode = os.environ.get("RAY_AUTH_MODE")
        hint = "use the token of the cluster" if mode == "token" else "set RAY_AUTH_MODE=token"
        return f"the Ray cluster requires a token, or rejects the given one; {hint}"
    if "mismatch" in str(error):
        return f"the Ray cluster runs other versions ({in_full(error)}); install the same versions"
    is_set = "RAY_AUTH_MODE" in os.environ
    hint = "" if is_set else "; set RAY_AUTH_MODE=token if the cluster requires a token"
    return f"no Ray cluster answers ({in_full(error)}){hint}"


def _require_answer(address: str) -> None:
    """Open a connection to HOST:PORT, because Ray would wait for minutes if nothing answers."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
