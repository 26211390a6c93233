"""Measurement of the best size of packs."""

import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from quantlab.errors import NonFiniteLossError, first_line
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun
from quantlab.probing.untrained import without_trained_weights
from quantlab.recipe import Recipe

SIZES = (1, 3, 9, 16, 27, 81)
"""Sizes that are measured, up to the number of trials."""

WORTH = 0.95
"""Largest ratio of a pack's time to the time of its trials alone for which packs are chosen."""


WORTH_SECONDS = 20.0
"""Total training time below which packs are not measured."""


@dataclass(frozen=True)
class PackTimes:
    """Times of a gradient step in packs of several sizes."""

    seconds: Mapping[int, float]
    """Seconds per trial and gradient step, by size. Size 1 is always included."""
    note: str = ""
    """Why larger packs were not measured; "" if smaller ones were as fast."""

    @property
    def best(self) -> int:
        """The fastest size; 1 if no pack is at least 5 % faster than single trials."""
        size = min(self.seconds, key=self.seconds.__getitem__)
        return size if self.seconds[size] <= WORTH * self.seconds[1] else 1

    def __str__(self) -> str:
        """Return sizes with times relative to a single trial, such as ``"1: 1.00, 3: 0.71"``."""
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
    """Train a few steps of packs of growing size until a larger one is not faster.

    This sets torch's number of threads in the process, and the modes of `Execution.prepare`.

    Args:
        recipes: recipes that can be trained as one pack. Each measured pack has a sample of them.
        data_dir: folder of datasets and weights.
        device: a torch device.
        execution: options of the computation.
        share: fraction of the machine's free memory that a pack may use.
        seconds: duration of the measurement of each size, without its start.
        trials: number of trials to train. Larger packs are not measured if all trials need less
            than `WORTH_SECONDS`. None for the number of recipes.
    """
    torch.set_num_threads(execution.threads)
    # Weights of other networks may not exist yet, and do not change the speed.
    fresh = [without_trained_weights(recipe) for recipe in recipes]
    times: dict[int, float] = {}
    for size in (size for size in SIZES if size <= len(recipes)):
        chosen = [fresh[len(fresh) * place // size] for place in range(size)]
        if times and times[max(times)] > min(times.values()):
            break  # the last one was no faster than a smaller one
        free, before = _free_memory(device), _used_memory(device)
        try:
            pack = PackedRun(chosen, data_dir=data_dir, device=device, execution=execution)
            times[size] = seconds_a_step(pack, seconds) / size
        except Exception as error:  # the error of a single trial is reported when it is trained
            if size == 1:
                raise
            return PackTimes(times, f"a pack of {size} failed: {first_line(error)}")
        run = pack.members[0]
        epochs = run.recipe.epochs + run.recipe.batchnorm_epochs
        if times[1] * run.steps_per_epoch * epochs * (trials or len(recipes)) < WORTH_SECONDS:
            return PackTimes(times, "larger packs were not measured, because training is short")
        needed = 3 * (_used_memory(device) - before)
        if needed > share * free:
            return PackTimes(
                times,
                f"larger packs were not measured, because one of {3 * size} would exceed the free "
                "memory",
            )
        del pack
    return PackTimes(times)


def seconds_a_step(pack: PackedRun, seconds: float, *, pause_seconds: float = 0.1) -> float:
    """Return the median time of a gradient step of a pack in seconds, without evaluations.

    Args:
        pack: pack that is trained for the measurement.
        seconds: duration of the measurement, which has at least a few steps.
        pause_seconds: time between readings of the clock, for which a GPU must finish its steps.

    Raises:
        NonFiniteLossError: if a trial of the pack diverges.
    """
    first = next(_times(pack, pause_steps=1))  # makes the stack
    first = min([first, *islice(_times(pack, pause_steps=1), 2)])
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
    """Yield the seconds per step between pauses, without the last steps of an epoch."""
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
    """Return the step of the most advanced member; others may have diverged."""
    return max(run.step for run in pack.members)


def _free_memory(device: str) -> float:
    """Return the free memory in bytes; infinite if the system does not report it."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return math.inf


def _used_memory(device: str) -> float:
    """Return the peak memory of this process in bytes; 0 if the system does not report it."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0.0
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
