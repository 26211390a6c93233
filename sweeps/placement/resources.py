"""Resources: where trials run, the CPUs and GPUs of each, and how many run at once."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.execution import DEFAULT_EXECUTION, Execution

_ROUNDING = 1e-9
"""What a quotient or product of amounts is rounded by at most."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where trials run, and the CPUs and GPUs of each."""

    address: str | None = None
    """Address of a Ray cluster; None for the cluster of RAY_ADDRESS or, if that is not set, for Ray
    on this machine."""
    concurrency: int | None = None
    """Maximum number of trials or packs that run at once; None for as many as fit."""
    cpus_per_trial: float | None = None
    """CPUs that Ray reserves for a trial; None for one for each thread and data loader process."""
    memory_per_trial: float | None = None
    """GiB of memory that Ray reserves for each process of a trial whose block names none; 0 for
    none, None for as much as finished trials like it needed."""
    gpus_per_trial: float | None = 0.0
    """GPUs of a trial, which may be a fraction; 0 trains on the CPU, None measures the fastest
    fraction. Several GPUs are used by as many processes, which train the trial together."""
    execution: Execution = DEFAULT_EXECUTION
    """How trials are computed. The number of `replicas` becomes that of the GPUs, if a trial has
    several."""
    retries: int = 3
    """How many times a trial is retried if its process dies or loses its disk or GPU."""
    pack: int | None = 1
    """Maximum number of trials in a pack; None measures the fastest number."""
    scratch: Path | None = None
    """Folder on the local disk of each machine, into which data is copied; None to read the data
    from its own folder."""
    most_cpus: float = 0.0
    """The largest number of CPUs that a block names for its trials; 0 if none does."""

    def __post_init__(self) -> None:
        for option, value in (
            ("--cpus-per-trial", self.cpus_per_trial),
            ("--gpus-per-trial", self.gpus_per_trial),
        ):
            is_fraction = value is not None and not float(value).is_integer()
            if value is not None and is_fraction and not 1e-4 <= value < 1:
                raise ConfigurationError(
                    f"{option} {value:g}: must be an integer, or a fraction from 0.0001 to 1"
                )
        self._settle_replicas()
        if self.pack != 1 and self.execution.replicas > 1:
            raise ConfigurationError(
                f"--pack {self.pack or 'auto'}: must be 1 if {self.execution.replicas} processes "
                "train a trial together, because they train a single recipe; omit --pack"
            )
        if self.pack != 1 and self.execution.workers:
            raise ConfigurationError(
                f"--execution workers={self.execution.workers}: every trial of a pack would start "
                "this number of processes; omit either workers or --pack"
            )

    def _settle_replicas(self) -> None:
        """Set the number of processes of a trial to that of its GPUs, and check both."""
        gpus, replicas = self.gpus_per_trial, self.execution.replicas
        if gpus is None and replicas > 1:
            raise ConfigurationError(
                f"--gpus-per-trial auto: must be {replicas} with --execution replicas={replicas}, "
                "because each process of a trial has a GPU of its own; or omit replicas"
            )
        if gpus and gpus > 1 and replicas == 1:
            execution = replace(self.execution, replicas=int(gpus))
            object.__setattr__(self, "execution", execution)
        elif gpus and replicas > 1 and gpus != replicas:
            raise ConfigurationError(
                f"--execution replicas={replicas}: must be the number of GPUs of a trial, which is "
                f"{gpus:g}, because each process has a GPU of its own; omit it, or change "
                "--gpus-per-trial"
            )
        share = self.cpus / self.execution.replicas
        if self.execution.replicas > 1 and not share.is_integer() and share > 1:
            raise ConfigurationError(
                f"--cpus-per-trial {self.cpus:g}: must be a multiple of {self.execution.replicas}, "
                "the number of processes of a trial, or less"
            )

    @property
    def cpus(self) -> float:
        """CPUs of a trial, of all its processes together."""
        needed = (self.execution.threads + self.execution.workers) * self.execution.replicas
        return float(needed) if self.cpus_per_trial is None else self.cpus_per_trial

    @property
    def cpus_option(self) -> str:
        """The option that determines `cpus`, for messages."""
        if self.cpus_per_trial is not None:
            return f"--cpus-per-trial {self.cpus:g}"
        own = self.execution
        each = f"threads={own.threads},workers={own.workers},replicas={own.replicas}"
        return f"--execution {each}, with which a trial needs {self.cpus:g} CPUs"

    @property
    def gpus(self) -> float:
        """GPUs of a trial; 0 if the number has yet to be measured."""
        return self.gpus_per_trial or 0.0

    @property
    def bundles(self) -> list[dict[str, float]]:
        """CPUs and GPUs of each process of a trial, by their names in Ray."""
        replicas = self.execution.replicas
        return [{"CPU": self.cpus / replicas, "GPU": self.gpus / replicas}] * replicas

    def for_trials(self, most: int, named_cpus: Iterable[float] = ()) -> "Resources":
        """Limit the concurrency to the number of trials, because Ray starts workers for it.

        Args:
            most: number of trials.
            named_cpus: numbers of CPUs that the blocks of trials name.
        """
        concurrency = self.concurrency and max(1, min(self.concurrency, most))
        return replace(self, concurrency=concurrency, most_cpus=max(named_cpus, default=0.0))

    def cpus_of_ray(self, usable: int) -> int:
        """Return with how many CPUs Ray is started on this machine.

        A limit of the concurrency may be larger than the machine. It has room for trials whose
        blocks name more CPUs, as far as the machine has them.

        Args:
            usable: CPUs that this process may use.
        """
        if self.concurrency is None:
            return usable
        named = min(usable, self.concurrency * self.most_cpus)
        return max(1, math.ceil(max(self.concurrency * self.cpus, named) - _ROUNDING))

    def slots(self, nodes: Sequence[dict[str, float]]) -> int:
        """Return how many trials or packs run at once; at least 1, as machines may be added later.

        Args:
            nodes: the resources of each machine by their name in Ray.
        """
        one = self.bundles[0]
        places = sum(places_of_nodes(nodes, cpus=one["CPU"], gpus=one["GPU"]))
        fit = max(1, places // self.execution.replicas)
        return min(fit, self.concurrency or fit)


def usable_cpus() -> int:
    """Return how many CPUs this process may use, >= 1; a batch job may have a part of them only."""
    usable = len(os.sched_getaffinity(0))
    for quota in cpu_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")):
        usable = min(usable, int(quota))
    return max(1, usable)


def mig_instances() -> int | None:
    """Return how many parts of GPUs ``CUDA_VISIBLE_DEVICES`` names; None if it names none.

    Ray counts whole GPUs only, and gives each process one of the names.
    """
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return len(names) if names[0].startswith("MIG-") else None


def cpu_limits(groups: Path, root: Path) -> Iterator[float]:
    """Yield the CPU limits of the control groups of this process and of their parents.

    Args:
        groups: the file that lists the control groups, of version 1 or 2.
        root: the folder in which the control groups are mounted.

    Yields:
        Numbers of CPUs.
    """
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers:
                folder, own = root, ["cpu.max"]
            elif "cpu" in controllers.split(","):
                folder, own = root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            here = folder / name.lstrip("/")
            for place in (here, *here.parents):
                with suppress(OSError, ValueError):  # "max", or a missing file, means no limit
                    text = " ".join((place / file).read_text(encoding="utf-8") for file in own)
                    quota, period = map(float, text.split())
                    if quota > 0:
                        yield quota / period
                if place == folder:
                    break


def places_of_nodes(nodes: Sequence[dict[str, float]], *, cpus: float, gpus: float) -> list[int]:
    """Return how many trials or packs fit on each machine.

    Args:
        nodes: the resources of each machine by their name in Ray.
        cpus: CPUs of a trial or pack.
        gpus: GPUs of a trial or pack.
    """
    return [places_on(node, {"CPU": cpus, "GPU": gpus}) for node in nodes]


def places_on(node: Mapping[str, float], bundle: Mapping[str, float]) -> int:
    """Return how many processes fit on a machine. A part of a GPU is one of a single GPU.

    Args:
        node: the resources of the machine by their name in Ray.
        bundle: what a process reserves.
    """
    room = []
    for kind, needed in bundle.items():
        have = node.get(kind, 0)
        if kind == "GPU" and 0 < needed < 1:
            room.append(int(have) * times_in(1.0, needed) + times_in(have % 1, needed))
        elif needed:
            room.append(times_in(have, needed))
    return min(room, default=1)


def times_in(have: float, needed: float) -> int:
    """Return how many times an amount is in another one, as 0.07 is 100 times in 7.

    Args:
        have: the other amount.
        needed: the amount, > 0.
    """
    return int(have / needed + _ROUNDING)  # 7 / 0.07 is less than 100
