"""Choose how many processes share each GPU, by measurements."""

import json
import math
from collections.abc import Callable, Sequence

from quantlab import Recipe
from quantlab.canonical import canonical
from quantlab.probing.gpu_sharing import MOST_MEMORY, NUMBERS, SharedPaces
from sweeps.placement.packing import Packing, by_pack_key
from sweeps.spec import Cell

MOST_OTHERS = 4
"""Packs of other networks, datasets or batch sizes whose memory is measured at most."""

Measure = Callable[[Sequence[Recipe], int, int], SharedPaces]
"""Measures a pack: its recipes, the maximum number of processes, and the trials of a GPU."""


def most_processes(
    nodes: Sequence[dict[str, float]], *, cpus: float, concurrency: int | None
) -> int:
    """Return the maximum number of processes on each GPU, as limited by CPUs and the concurrency.

    Args:
        nodes: the resources of each machine by their name in Ray.
        cpus: CPUs of a process.
        concurrency: maximum number of processes on all machines; None for as many as fit.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    gpus = sum(node["GPU"] for node in with_gpus)
    most = max((node.get("CPU", 0) // (node["GPU"] * cpus) for node in with_gpus), default=1)
    if concurrency is not None and gpus:
        most = min(most, math.ceil(concurrency / gpus))
    return max(1, int(most))


def choose_sharing(
    cells: Sequence[Cell], packing: Packing, measure: Measure, *, most: int, gpus: int
) -> tuple[int, str]:
    """Choose the number of processes on each GPU.

    The pack key with the most trials is measured with up to `most` processes. Of others, with
    another network, dataset or batch size, only the memory is measured, of the `MOST_OTHERS` with
    the most trials; the number is halved until all of them fit.

    Args:
        cells: the trials to train.
        packing: how many of them are trained as one pack.
        measure: trains packs for a short time.
        most: maximum number of processes on a GPU; no more are measured than there are packs.
        gpus: number of GPUs of all machines.

    Returns:
        The number of processes on each GPU, and a line that describes the measurement.
    """
    groups = sorted(by_pack_key(cells).items(), key=lambda group: -len(group[1]))
    packs = [alike[: packing.size(key, len(alike))] for key, alike in groups]
    count = sum(
        math.ceil(len(alike) / len(pack)) for (_, alike), pack in zip(groups, packs, strict=True)
    )
    most = max(1, min(most, math.ceil(count / gpus)))
    most = max(number for number in NUMBERS if number <= most)
    if most == 1:
        return 1, _line(1, "not measured, because there is no more work, or there are no more CPUs")
    recipes = [[cell.recipe for cell in pack] for pack in packs]
    paces = measure(recipes[0], most, math.ceil(len(cells) / gpus))
    number, reason = paces.best, str(paces)
    others = {_memory_key(pack): pack for pack in reversed(recipes)}
    others.pop(_memory_key(recipes[0]))
    for other in list(reversed(others.values()))[:MOST_OTHERS]:
        if number == 1:
            break
        alone = measure(other, 1, len(other))
        while number > 1 and number * alone.memory.get(1, 1.0) > MOST_MEMORY:
            number //= 2
            name = f"{other[0].model.name} on {other[0].dataset.name}"
            reason = f"{paces}; limited by the memory of {name}, {alone}"
    return number, _line(number, reason)


def _memory_key(recipes: Sequence[Recipe]) -> str:
    """Return what the memory of a pack depends on, as text."""
    recipe = recipes[0]
    parts = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "batch_size": recipe.batch_size,
        "is_quantized": recipe.quantization is not None,
        "has_moving_average": recipe.moving_average is not None,
        "optimizer": recipe.optimizer.algorithm,
        "trials": len(recipes),
    }
    return json.dumps(canonical(parts), sort_keys=True)


def _line(number: int, reason: str) -> str:
    processes = "1 process runs" if number == 1 else f"{number} processes run"
    return f"--gpus-per-trial auto: {1 / number:g}; {processes} on each GPU ({reason})"
