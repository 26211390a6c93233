"""SlurmJob: what a job asks of SLURM, as lines of its batch script."""

import re
from dataclasses import dataclass

from quantlab import ConfigurationError
from sweeps.placement.resources import Resources
from sweeps.printing.number_of import number_of
from sweeps.slurm.time_limit import require_long_enough

STOP_BEFORE_SECONDS = 120
"""How long before its time limit a job is told to stop, if nothing else is said."""
_MOST_SECONDS = 65535

_NAME = re.compile(r"[\w.,+@-]+")
"""A partition, several of them, or an account."""
_OWN = {
    "nodes": "--nodes",
    "array": "--array",
    "time": "--time",
    "cpus-per-task": "--cpus-per-node",
    "gpus-per-node": "--gpus-per-node",
    "partition": "--partition",
    "account": "--account",
    "signal": "--stop-before",
}
"""Option of sbatch -> the option of this command that sets it."""
_FIXED = (
    *("ntasks", "ntasks-per-node", "requeue", "no-requeue", "no-kill", "open-mode", "chdir"),
    *("wrap", "parsable", "test-only"),
)
"""Options of sbatch that the script depends on."""
_SHORT = {
    **{"N": "nodes", "a": "array", "t": "time", "c": "cpus-per-task", "p": "partition"},
    **{"A": "account", "n": "ntasks", "k": "no-kill", "D": "chdir", "J": "job-name"},
    **{"o": "output", "e": "error"},
}
_FOR_GPUS = ("gpus", "gpus-per-task", "gpus-per-socket")
_FOR_RESOURCES = ("gres", "tres-per-task")
"""Options for GPUs and other resources, such as ``gres=gpu:a100:2,tmpfs:100G``."""
_GPU = re.compile(r"\b(gpu|mps|shard)\b")
"""A GPU, or a share of one, among the resources."""


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What a job asks of SLURM."""

    nodes: int = 1
    """Number of nodes, on all of which trials run."""
    array: int | None = None
    """Number of jobs, of one node each, that share the trials; None for a single job."""
    gpus_per_node: int = 0
    """GPUs of each node."""
    cpus_per_node: int | None = None
    """CPUs of each node; None for SLURM's default, which is often one."""
    time: str | None = None
    """Time limit as SLURM writes it; None for that of the partition."""
    stop_before: int = STOP_BEFORE_SECONDS
    """How many seconds before the time limit the sweep is told to stop."""
    partition: str | None = None
    """The partition, or several of them; None for SLURM's default."""
    account: str | None = None
    """The account that is charged; None for SLURM's default."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, such as ``mem=64G``; dashes in front of them are optional."""

    def __post_init__(self) -> None:
        if self.array is not None and self.nodes > 1:
            raise ConfigurationError(
                f"--array {self.array} with --nodes {self.nodes}: the jobs of an array have one "
                "node each; omit one of the two"
            )
        if self.stop_before > _MOST_SECONDS:
            raise ConfigurationError(
                f"--stop-before {self.stop_before}: must be at most {_MOST_SECONDS} seconds, as "
                "for SLURM's option --signal"
            )
        for option, name in (("--partition", self.partition), ("--account", self.account)):
            if name is not None and not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{option} {name!r}: must be a name of letters, digits and . , + @ _ -"
                )
        object.__setattr__(self, "sbatch", tuple(map(_checked, self.sbatch)))
        if self.time is not None:
            require_long_enough(self.time, self.stop_before)

    @property
    def further(self) -> dict[str, str]:
        """The options in `sbatch` by their names, each with its value; empty without one."""
        return {name: value for name, _, value in (text.partition("=") for text in self.sbatch)}

    def require_room_for(self, resources: Resources) -> None:
        """Refuse trials that the nodes have no room for, and GPUs that no trial would use.

        Args:
            resources: what each trial needs.

        Raises:
            ConfigurationError: see above.
        """
        cpus = resources.cpus / resources.execution.replicas
        if self.cpus_per_node is not None and cpus > self.cpus_per_node:
            raise ConfigurationError(
                f"--cpus-per-node {self.cpus_per_node}: must be at least {cpus:g}, which the "
                "options of the sweep give to each process of a trial"
            )
        asked = self._asked_for_gpus()
        needs_gpus = resources.gpus_per_trial != 0
        if needs_gpus and not asked:
            wanted = "auto" if resources.gpus_per_trial is None else f"{resources.gpus:g}"
            raise ConfigurationError(
                f"--gpus-per-trial {wanted}: the job has no GPU; give --gpus-per-node, too"
            )
        if asked and not needs_gpus:
            raise ConfigurationError(
                f"{asked}: no trial would use a GPU; add `-- --gpus-per-trial 1`, or auto "
                "or a fraction instead of 1"
            )

    def _asked_for_gpus(self) -> str:
        """Return the option that asks SLURM for GPUs; empty without one."""
        if self.gpus_per_node:
            return "--gpus-per-node"
        for text in self.sbatch:
            name, _, value = text.partition("=")
            if name in _FOR_GPUS or (name in _FOR_RESOURCES and _GPU.search(value)):
                return f"--sbatch {text}"
        return ""

    def describe(self) -> str:
        """Return what the job asks for in a line."""
        what = number_of(self.nodes, "node")
        if self.array:
            what = f"{number_of(self.array, 'job')} of 1 node"
        each = {"CPU": self.cpus_per_node, "GPU": self.gpus_per_node}
        parts = [
            what,
            *([] if self.cpus_per_node else ["SLURM's default of CPUs"]),
            *(f"{number_of(count, name)} each" for name, count in each.items() if count),
            "the time limit of the partition" if self.time is None else f"time limit {self.time}",
        ]
        return ", ".join(parts)


def _checked(text: str) -> str:
    """Return an option of sbatch without its dashes, as ``name`` or ``name=value``."""
    option = text.strip()
    if re.match("-[^-]", option):
        name = _SHORT.get(option[1], "mem")
        raise ConfigurationError(
            f"--sbatch {text!r}: must be a long option of sbatch, such as {name}=VALUE"
        )
    option = option.removeprefix("--")
    name, equals, value = option.partition("=")
    if "\n" in text or not re.fullmatch(r"[a-z][a-z0-9-]*", name) or (equals and not value):
        raise ConfigurationError(
            f"--sbatch {text!r}: must be one option of sbatch as name=value or name, such as "
            "mem=64G or exclusive"
        )
    if own := _OWN.get(name):
        raise ConfigurationError(f"--sbatch {text!r}: use the option {own} of this command instead")
    if name in _FIXED:
        raise ConfigurationError(
            f"--sbatch {text!r}: the script depends on its own {name}; omit the option, or write "
            "the script without --submit and change it"
        )
    return option
