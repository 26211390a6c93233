"""How many processes share each GPU: what is measured, and what follows for the sweep."""

import math
from collections.abc import Callable, Sequence

from quantlab import Recipe
from quantlab.probing.gpu_sharing import MOST_MEMORY, NUMBERS, SharedPaces
from sweeps.placement.packing import Packing, by_kind
from sweeps.spec import Cell

Measure = Callable[[Sequence[Recipe], int, int], SharedPaces]
"""Takes a pack's recipes, the most processes with such a pack each, and the trials of a GPU."""


def most_processes(
    nodes: Sequence[dict[str, float]], *, cpus: float, concurrency: int | None
) -> int:
    """How many processes each GPU can have, whatever it could do with more.

    Args:
        nodes: what each machine has, by kind.
        cpus: of a process.
        concurrency: the most processes in all; None for as many as fit.
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
    """Measure packs of the kind of which there are the most trials, and the memory of the others.

    Args:
        cells: to be trained.
        packing: how they become packs.
        measure: lets packs train.
        most: processes on a GPU; no more are measured than there are packs.
        gpus: of all machines.

    Returns:
        How many processes each GPU is to have, and what there is to say about it.
    """
    kinds = sorted(by_kind(cells).items(), key=lambda kind: -len(kind[1]))
    packs = [alike[: packing.size(kind, len(alike))] for kind, alike in kinds]
    count = sum(
        math.ceil(len(alike) / len(pack)) for (_, alike), pack in zip(kinds, packs, strict=True)
    )
    most = max(1, min(most, math.ceil(count / gpus)))
    most = max(number for number in NUMBERS if number <= most)
    if most == 1:
        return 1, _line(1, "not measured: there is work, or there are CPUs, for no more")
    recipes = [[cell.recipe for cell in pack] for pack in packs]
    paces = measure(recipes[0], most, math.ceil(len(kinds[0][1]) / gpus))
    number, told = paces.best, str(paces)
    for other in recipes[1:]:
        if number == 1:
            break
        alone = measure(other, 1, len(other))
        while number > 1 and number * alone.memory.get(1, 1.0) > MOST_MEMORY:
            number //= 2
            name = f"{other[0].model.name} on {other[0].dataset.name}"
            told = f"{paces}; no more because of {name}, {alone}"
    return number, _line(number, told)


def _line(number: int, told: str) -> str:
    processes = "1 process" if number == 1 else f"{number} processes"
    return f"--gpus-per-trial auto: {1 / number:g}, so {processes} on each GPU ({told})"
