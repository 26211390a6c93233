"""Resources: where trials run, with how much each, and how many fit at once."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    gpus_per_trial: float = 0.0
    """May be a fraction; 0 trains on the CPU."""
    execution: Execution = DEFAULT_EXECUTION
    """How trials are computed."""
    retries: int = 3
    """How often a trial is taken up again whose process died, or lost its disk or its GPU."""
    pack: int | None = 1
    """The most trials that are trained as one; None for as many as are fastest, by a probe."""
    scratch: Path | None = None
    """A folder on each machine's own disk for the data; None to read it where it lies."""

    def __post_init__(self) -> None:
        if self.pack != 1 and (self.execution.compile or self.execution.workers):
            raise ConfigurationError(
                "--pack: has neither --execution compile nor workers; leave them out, or --pack"
            )

    @property
    def cpus(self) -> float:
        """CPUs of a trial."""
        needed = self.execution.threads + self.execution.workers
        return needed if self.cpus_per_trial is None else self.cpus_per_trial

    def slots(self, nodes: Sequence[dict[str, float]]) -> int:
        """How many trials or packs run at once; at least one, for which there may be room later.

        Args:
            nodes: what each machine has, by kind.
        """
        fit = max(1, sum(places_of_nodes(nodes, cpus=self.cpus, gpus=self.gpus_per_trial)))
        return min(fit, self.concurrency or fit)


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
