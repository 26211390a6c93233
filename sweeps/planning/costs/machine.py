"""Machine: how this machine trains the trials of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sweeps.placement.memory_here import memory_for_trials
from sweeps.placement.resources import (
    Resources,
    mig_instances,
    places_of_nodes,
    usable_cpus,
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How this machine trains the trials of a plan."""

    device: str = "cpu"
    """Type of the torch device, ``cpu`` or ``cuda``."""
    slots: int = 1
    """Number of trials or packs that are trained at once; 0 if there is no room for one."""
    pack: int | None = 1
    """Maximum number of trials in a pack; None for the fastest number."""
    execution: str = ""
    """`quantlab.execution.Execution` as text; empty if any will do."""
    resources: Resources | None = None
    """The resources of a trial whose block names none; None if all trials are alike."""
    has: Mapping[str, float] = field(default_factory=dict)
    """CPUs, GPUs and bytes of memory of this machine, by their names in Ray; empty with `resources`
    None."""


ONE_BY_ONE = Machine()
"""Trains one trial after the other on a CPU."""


def this_machine(resources: Resources) -> Machine:
    """Return how this machine trains trials with the given resources.

    Args:
        resources: the resources of a trial or pack, which has a whole GPU if its share has yet to
            be measured.
    """
    if resources.gpus_per_trial is None:
        resources = replace(resources, gpus_per_trial=1.0)
    gpus = resources.gpus
    replicas = resources.execution.replicas
    node = {"CPU": float(usable_cpus()), "GPU": _num_gpus() if gpus else 0.0}
    (places,) = places_of_nodes([node], cpus=resources.cpus / replicas, gpus=gpus / replicas)
    room = places // replicas
    return Machine(
        device="cuda" if gpus else "cpu",
        slots=min(room, resources.concurrency or room),
        pack=resources.pack,
        execution=str(resources.execution),
        resources=resources,
        has={**node, "memory": memory_for_trials()},
    )


def _num_gpus() -> float:
    if (parts := mig_instances()) is not None:  # of which torch sees the first one only
        return float(parts)
    import torch  # which a plan for CPUs does not need

    return float(torch.cuda.device_count())
