"""Choose how many processes share each GPU, by measurements."""

import math
from collections.abc import Callable, Mapping, Sequence

from quantlab import Recipe
from quantlab.probing.gpu_sharing import MOST_MEMORY, NUMBERS, SharedPaces
from sweeps.placement.packing import Packing, by_pack_key
from sweeps.placement.resources import times_in
from sweeps.placement.trial_memory import memory_of
from sweeps.spec import Cell

MOST_OTHERS = 4
"""Packs of other networks, datasets or batch sizes whose memory is measured at most."""

KIND_OF_GPU = "accelerator_type:"
"""Beginning of the names of Ray's resources for the kinds of GPUs."""

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
    most = max((times_in(node.get("CPU", 0), node["GPU"] * cpus) for node in with_gpus), default=1)
    if concurrency is not None and gpus:
        most = min(most, math.ceil(concurrency / gpus))
    return max(1, most)


def gpu_kinds(nodes: Sequence[dict[str, float]]) -> dict[str, list[dict[str, float]]]:
    """Group the machines with GPUs by the resource of Ray that names their kind of GPU.

    Args:
        nodes: the resources of each machine by their name in Ray.

    Returns:
        Name of the resource, such as ``accelerator_type:H100`` -> the machines; the name is empty
        for those whose kind Ray does not know.
    """
    kinds: dict[str, list[dict[str, float]]] = {}
    for node in nodes:
        if node.get("GPU", 0) >= 1:
            name = next((name for name in node if name.startswith(KIND_OF_GPU)), "")
            kinds.setdefault(name, []).append(node)
    return kinds


def choose_for_all(
    kinds: Mapping[str, Sequence[dict[str, float]]],
    choose: Callable[[str, Sequence[dict[str, float]]], tuple[int, str]],
) -> tuple[int, list[str]]:
    """Choose the number of processes on each GPU where there are several kinds of GPUs.

    It is the smallest of the numbers that are chosen for each kind, because Ray places a trial on
    any of them.

    Args:
        kinds: see `gpu_kinds`.
        choose: returns the number for a kind, by the name of its resource and its machines, and a
            line that describes the measurement.

    Returns:
        The number of processes on each GPU, and lines that describe the measurements.
    """
    found = {kind: choose(kind, own) for kind, own in kinds.items()}
    number = min((own for own, _ in found.values()), default=1)
    if len(found) <= 1:
        return number, [line for _, line in found.values()]
    names = {kind: kind.removeprefix(KIND_OF_GPU) or "unknown kind" for kind in found}
    lines = [f"{names[kind]}: {line}" for kind, (_, line) in found.items()]
    together = _line(number, "the smallest number for any kind of GPU, as a trial may get each")
    return number, [*lines, together]


def choose_sharing(
    cells: Sequence[Cell], packing: Packing, measure: Measure, *, most: int, gpus: int
) -> tuple[int, str]:
    """Choose the number of processes on each GPU.

    The pack key with the most trials is measured with up to `most` processes. Of others, with
    another network, teacher, dataset or batch size, only the memory is measured, of the
    `MOST_OTHERS` with the most trials; the number is halved until all of them fit.

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
            taught = " with a teacher" * (other[0].distillation is not None)
            name = f"{other[0].model.name} on {other[0].dataset.name}{taught}"
            reason = f"{paces}; limited by the memory of {name}, {alone}"
    return number, _line(number, reason)


def _memory_key(recipes: Sequence[Recipe]) -> tuple[str, int]:
    """Return what the memory of a pack depends on."""
    return memory_of(recipes[0]), len(recipes)


def _line(number: int, reason: str) -> str:
    processes = "1 process runs" if number == 1 else f"{number} processes run"
    return f"--gpus-per-trial auto: {1 / number:g}; {processes} on each GPU ({reason})"
