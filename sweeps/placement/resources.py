"""Resources: where trials run, with how much each, and how many fit at once."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.execution import DEFAULT_EXECUTION, Execution


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where trials run, and with how much each."""

    address: str | None = None
    """A Ray cluster; None for that of the environment's RAY_ADDRESS, else Ray on this machine."""
    concurrency: int | None = None
    """The most trials at once; None for as many as fit."""
    cpus_per_trial: float | None = None
    """What Ray sets aside; None for one for each thread and loader process."""
    gpus_per_trial: float | None = 0.0
    """May be a fraction; 0 trains on the CPU; None for the fraction that a probe finds best."""
    execution: Execution = DEFAULT_EXECUTION
    """How trials are computed."""
    retries: int = 3
    """How often a trial is taken up again whose process died, or lost its disk or its GPU."""
    pack: int | None = 1
    """The most trials that are trained as one; None for as many as are fastest, by a probe."""
    scratch: Path | None = None
    """A folder on each machine's own disk for the data; None to read it where it lies."""

    def __post_init__(self) -> None:
        for option, value in (
            ("--cpus-per-trial", self.cpus_per_trial),
            ("--gpus-per-trial", self.gpus_per_trial),
        ):
            is_fraction = value is not None and not float(value).is_integer()
            if value is not None and is_fraction and not 1e-4 <= value < 1:
                raise ConfigurationError(
                    f"{option} {value:g}: must be a whole number, or a fraction of 0.0001 to 1"
                )
        if self.pack != 1 and self.execution.workers:
            raise ConfigurationError(
                f"--execution workers={self.execution.workers}: every trial of a pack would have "
                "as many; leave it out, or --pack"
            )

    @property
    def cpus(self) -> float:
        """CPUs of a trial."""
        needed = self.execution.threads + self.execution.workers
        return needed if self.cpus_per_trial is None else self.cpus_per_trial

    @property
    def gpus(self) -> float:
        """GPUs of a trial; 0 as long as no probe has found how many."""
        return self.gpus_per_trial or 0.0

    def for_trials(self, most: int) -> "Resources":
        """The same, with room for no more than there can ever be at once: Ray makes ready for it.

        Args:
            most: trials.
        """
        if self.concurrency is None:
            return self
        return replace(self, concurrency=max(1, min(self.concurrency, most)))

    def slots(self, nodes: Sequence[dict[str, float]]) -> int:
        """How many trials or packs run at once; at least one, for which there may be room later.

        Args:
            nodes: what each machine has, by kind.
        """
        fit = max(1, sum(places_of_nodes(nodes, cpus=self.cpus, gpus=self.gpus)))
        return min(fit, self.concurrency or fit)


def usable_cpus() -> int:
    """CPUs of this machine that this process may use, >= 1: a batch job often has a share only."""
    usable = len(os.sched_getaffinity(0))
    for quota in _quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")):
        usable = min(usable, int(quota))
    return max(1, usable)


def _quotas(groups: Path, root: Path) -> Iterator[float]:
    """CPUs that this process's control groups, and those above them, have between them.

    Args:
        groups: the file that names them, of both versions of control groups.
        root: where their files are.
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
                with suppress(OSError, ValueError):  # "max" is none; so is a root without a file
                    text = " ".join((place / file).read_text(encoding="utf-8") for file in own)
                    quota, period = map(float, text.split())
                    if quota > 0:
                        yield quota / period
                if place == folder:
                    break


def places_of_nodes(nodes: Sequence[dict[str, float]], *, cpus: float, gpus: float) -> list[int]:
    """How many trials or packs each of a cluster's nodes has room for."""
    found = []
    for node in nodes:
        room = [
            int(node.get(kind, 0) / needed)
            for kind, needed in (("CPU", cpus), ("GPU", gpus))
            if needed
        ]
        found.append(min(room, default=1))
    return found
