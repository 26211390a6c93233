"""Measure the fastest packs, on a machine of the sweep."""

from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError

from quantlab import Recipe
from quantlab.errors import first_line
from quantlab.execution import Execution
from quantlab.probing.pack_sizes import SIZES, PackTimes, measure_packs
from sweeps.placement.packing import Packing, choose_packing
from sweeps.placement.resources import Resources, places_of_nodes
from sweeps.spec import Cell
from sweeps.worker.data.staging import stage


def fastest_packing(
    cells: Sequence[Cell],
    *,
    data_dir: Path,
    scratch: Path | None,
    resources: Resources,
) -> tuple[Packing, list[str]]:
    """Measure packs for each pack key that has more trials than can run at once.

    Ray must be connected. Trials that cannot be measured are trained one by one.

    Args:
        cells: the trials to train.
        data_dir: folder of the datasets.
        scratch: a folder on the local disk; see `staging.stage`.
        resources: the resources of a trial or pack.

    Returns:
        The packing, and a line for each pack key that describes the measurement.
    """
    cpus, gpus, execution = resources.cpus, resources.gpus, resources.execution
    nodes = alive_nodes()
    places = places_of_nodes(nodes, cpus=cpus, gpus=gpus)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_measure)
    share = 0.8 * min(1.0, gpus) if gpus else 0.8 / max([1, *places])

    def measure(alike: Sequence[Cell]) -> PackTimes:
        recipes = [cell.recipe for cell in alike[:: max(1, len(alike) // max(SIZES))]]
        device = "cuda" if gpus else "cpu"
        running = task.remote(recipes, len(alike), data_dir, scratch, device, execution, share)
        try:
            times: PackTimes = ray.get(running)
        except RayError as error:  # for example, the process died
            return _not_measured(error)
        return times

    return choose_packing(cells, measure, slots=resources.slots(nodes))


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster by their name in Ray."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _measure(
    recipes: Sequence[Recipe],
    trials: int,
    data_dir: Path,
    scratch: Path | None,
    device: str,
    execution: Execution,
    share: float,
) -> PackTimes:
    try:
        return measure_packs(
            recipes,
            data_dir=stage(recipes[0], data_dir, scratch),
            device=device,
            execution=execution,
            trials=trials,
            share=share,
        )
    except Exception as error:  # the trials themselves will report it
        return _not_measured(error)


def _not_measured(error: Exception) -> PackTimes:
    return PackTimes({1: 1.0}, f"not measured: {first_line(error)}")
