"""How large packs should be: measured, with a few steps of each size."""

import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from quantlab.errors import NonFiniteLossError, first_line
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun
from quantlab.recipe import Recipe

SIZES = (1, 3, 9, 16, 27, 81)
"""That are tried, as far as there are trials."""

WORTH = 0.95
"""A pack must take at most this fraction of the time of its trials one by one."""


WORTH_SECONDS = 20.0
"""What takes less time in all is not worth the time that it takes to measure packs."""


@dataclass(frozen=True)
class PackTimes:
    """Seconds a trial and gradient step, in packs of several sizes."""

    seconds: Mapping[int, float]
    """Size -> seconds; 1 is always there."""
    note: str = ""
    """Why larger packs were not tried, if not because they are no faster."""

    @property
    def best(self) -> int:
        """The size with the least time; 1 if no pack is worth it."""
        size = min(self.seconds, key=self.seconds.__getitem__)
        return size if self.seconds[size] <= WORTH * self.seconds[1] else 1

    def __str__(self) -> str:
        """``"1: 1.00, 3: 0.71, ..."``: size and time, as a fraction of that alone."""
        ratios = [f"{size}: {own / self.seconds[1]:.2f}" for size, own in self.seconds.items()]
        return ", ".join(ratios) + (f" ({self.note})" if self.note else "")


def measure_packs(
    recipes: Sequence[Recipe],
    *,
    data_dir: Path = Path("data"),
    device: str = "cpu",
    execution: Execution = DEFAULT_EXECUTION,
    share: float = 1.0,
    seconds: float = 0.5,
    trials: int | None = None,
) -> PackTimes:
    """Train a few steps of packs of growing size, until a larger one is no faster.

    Args:
        recipes: that fit into one pack; they are spread over the packs that are tried.
        data_dir: where datasets lie.
        device: a torch device.
        execution: how to compute.
        share: of the machine's free memory that a pack may take.
        seconds: to spend on each size, beyond its start.
        trials: how many there are to train, so that nothing more is measured if they take less
            time than measuring; None for as many as recipes.
    """
    torch.set_num_threads(execution.threads)
    # Initial weights may not be there yet, and do not matter here.
    fresh = [replace(recipe, initial_weights=None) for recipe in recipes]
    times: dict[int, float] = {}
    for size in (size for size in SIZES if size <= len(recipes)):
        chosen = [fresh[len(fresh) * place // size] for place in range(size)]
        if times and times[max(times)] > min(times.values()):
            break  # the last one was no faster than a smaller one
        free, before = _free_memory(device), _used_memory(device)
        try:
            pack = PackedRun(chosen, data_dir=data_dir, device=device, execution=execution)
            times[size] = seconds_a_step(pack, seconds) / size
        except Exception as error:  # it may be a trial's own fault, which will be told as such
            if size == 1:
                raise
            return PackTimes(times, f"{size} together: {first_line(error)}")
        run = pack.members[0]
        epochs = run.recipe.epochs + run.recipe.batchnorm_epochs
        if times[1] * run.steps_per_epoch * epochs * (trials or len(recipes)) < WORTH_SECONDS:
            return PackTimes(times, "over too soon to measure more")
        needed = 3 * (_used_memory(device) - before)
        if needed > share * free:
            return PackTimes(times, f"{3 * size} would not fit into memory")
        del pack
    return PackTimes(times)


def seconds_a_step(pack: PackedRun, seconds: float, *, pause_seconds: float = 0.1) -> float:
    """The median time of a step of the whole pack, without what follows an epoch.

    Args:
        pack: is trained for a while.
        seconds: to spend, but at least on a few steps.
        pause_seconds: between looks at the clock, for which a GPU has to finish its steps.
    """
    first = next(_times(pack, pause_steps=1))  # makes the stack
    first = min(first, *islice(_times(pack, pause_steps=1), 2))
    # At least one pause within an epoch: the time of its last steps is never taken.
    pause_steps = max(1, min(20, int(pause_seconds / first), pack.members[0].steps_per_epoch - 1))
    found: list[float] = []
    started = time.perf_counter()
    for taken in _times(pack, pause_steps):
        found.append(taken)
        if len(found) >= 5 and time.perf_counter() - started >= seconds:
            break
    return statistics.median(found or [first])


def _times(pack: PackedRun, pause_steps: int) -> Iterator[float]:
    """Seconds a step, pause after pause; the last of an epoch are left out."""
    every_step_ends_an_epoch = pack.members[0].steps_per_epoch == 1
    steps, started = _steps(pack), time.perf_counter()
    for events in pack.train(pause_steps):
        done = _steps(pack) - steps
        if done and (not events or every_step_ends_an_epoch):
            yield (time.perf_counter() - started) / done
        steps, started = _steps(pack), time.perf_counter()
    if pack.diverged:
        raise NonFiniteLossError(steps, math.nan)


def _steps(pack: PackedRun) -> int:
    """Of the member that has come farthest; others may have diverged."""
    return max(run.step for run in pack.members)


def _free_memory(device: str) -> float:
    """Bytes; infinite where the system does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return math.inf


def _used_memory(device: str) -> float:
    """The most bytes that this process has used so far."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0.0
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
