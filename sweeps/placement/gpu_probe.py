"""Measure how many trials or packs should share a GPU, on a GPU of the sweep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from quantlab import Recipe
from quantlab.errors import first_line
from quantlab.execution import Execution
from quantlab.probing.gpu_sharing import Pace, SharedPaces, Sharer, measure_sharing
from sweeps.placement.packing import Packing
from sweeps.placement.resources import Resources
from sweeps.placement.sharing_choice import (
    choose_for_all,
    choose_sharing,
    gpu_kinds,
    most_processes,
)
from sweeps.spec import Cell
from sweeps.worker.data.staging import stage
from sweeps.worker.failure_reason import reason_of

PATIENCE_SECONDS = 60
"""How long the measurement waits for a free GPU on a cluster that others use too."""


class NoRoomError(RuntimeError):
    """No GPU was free for a measurement."""


def shared_gpus(
    cells: Sequence[Cell],
    packing: Packing,
    nodes: Sequence[dict[str, float]],
    *,
    data_dir: Path,
    scratch: Path | None,
    resources: Resources,
    device: str = "cuda",
) -> tuple[Resources, list[str]]:
    """Measure which number of processes, each with a pack, trains the most trials on one GPU.

    It is measured on one GPU of each kind; see `choose_for_all`. Ray must be connected to at least
    one machine with a GPU.

    Args:
        cells: the trials to train.
        packing: how many of them are trained as one pack.
        nodes: the resources of each machine by their name in Ray.
        data_dir: folder of the datasets.
        scratch: a folder on the local disk; see `staging.stage`.
        resources: the resources of a trial or pack, without the share of a GPU.
        device: a torch device.

    Returns:
        The resources with the fastest share of a GPU, and lines that describe the measurements.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    limit = most_processes(nodes, cpus=resources.cpus, concurrency=resources.concurrency)

    def choose(kind: str, own: Sequence[dict[str, float]]) -> tuple[int, str]:
        def measure(recipes: Sequence[Recipe], most: int, trials: int) -> SharedPaces:
            try:
                with _team(recipes, most, data_dir, scratch, resources, device, kind) as team:
                    return measure_sharing(team, most=most, trials=trials)
            except (NoRoomError, RayError) as error:
                return SharedPaces({}, {}, f"not measured: {first_line(error)}")

        most = min(limit, most_processes(own, cpus=resources.cpus, concurrency=None))
        return choose_sharing(cells, packing, measure, most=most, gpus=gpus)

    number, lines = choose_for_all(gpu_kinds(nodes), choose)
    return replace(resources, gpus_per_trial=1 / number), lines


class _Team:
    """Ray actors on one GPU."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.actors: list[Any] = []

    def grow(self, number: int) -> None:
        added = [self._make() for _ in range(number - len(self.actors))]
        self.actors += added
        _results([actor.ready.remote() for actor in added])

    def train(self, seconds: float) -> Sequence[Pace]:
        return _results([actor.train.remote(seconds) for actor in self.actors])


def _results(running: list[Any]) -> list[Any]:
    try:
        return ray.get(running)
    except RayActorError as error:
        if error.actor_init_failed:
            raise RuntimeError(reason_of(error)) from error
        message = "a process was killed, perhaps because the machine ran out of memory"
        raise RuntimeError(message) from error
    except RayError as error:
        raise RuntimeError(reason_of(error)) from error


class _Actor:
    def __init__(
        self,
        recipes: Sequence[Recipe],
        data_dir: Path,
        scratch: Path | None,
        device: str,
        execution: Execution,
    ) -> None:
        here = stage(recipes[0], data_dir, scratch)
        self._sharer = Sharer(recipes, data_dir=here, device=device, execution=execution)

    def ready(self) -> None:
        """Do nothing; Ray calls this when the actor has been created."""

    def train(self, seconds: float) -> Pace:
        return self._sharer.train(seconds)


@contextmanager
def _team(
    recipes: Sequence[Recipe],
    most: int,
    data_dir: Path,
    scratch: Path | None,
    resources: Resources,
    device: str,
    kind: str,
) -> Iterator[_Team]:
    """Reserve one GPU of a kind, and CPUs for `most` processes, on one machine."""
    bundle = {"GPU": 1.0, "CPU": resources.cpus * most} | ({kind: 0.001} if kind else {})
    group = placement_group([bundle])
    try:
        if not group.wait(timeout_seconds=PATIENCE_SECONDS):
            raise NoRoomError(
                f"no machine had a free GPU and {resources.cpus * most:g} free CPUs within "
                f"{PATIENCE_SECONDS} seconds"
            )
        actor = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=1 / most,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group),
        )(_Actor)
        team = _Team(lambda: actor.remote(recipes, data_dir, scratch, device, resources.execution))
        try:
            yield team
        finally:
            for member in team.actors:
                ray.kill(member)
    finally:
        remove_placement_group(group)
