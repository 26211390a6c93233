"""Measurement of the number of processes that should share a GPU."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from quantlab.errors import first_line
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun
from quantlab.probing.untrained import without_trained_weights
from quantlab.recipe import Recipe

NUMBERS = (1, 2, 4, 8, 16)
"""Numbers of processes that are measured, as far as memory allows."""

WORTH = 1.05
"""Smallest gain in trials per hour for which more processes are chosen."""

MOST_MEMORY = 0.8
"""Largest fraction of the device's memory for all processes. The rest is for evaluations, which
need more memory than the measured steps."""

PAUSE_STEPS = 5


@dataclass(frozen=True)
class Pace:
    """The speed of one process, and the memory in use at the end of the measurement."""

    trials_per_hour: float
    memory: float
    """Fraction of the device's memory that all processes use, in [0, 1]."""


@dataclass(frozen=True)
class SharedPaces:
    """The speed of several numbers of processes that share a device."""

    trials_per_hour: Mapping[int, float]
    """Trials per hour of all processes, by number of processes; empty if nothing was measured."""
    memory: Mapping[int, float]
    """Fraction of the device's memory in use, by number of processes."""
    note: str = ""
    """Why more processes were not measured; "" if fewer were as fast."""

    @property
    def best(self) -> int:
        """The smallest number within 5 % of the fastest one, among those that memory allows."""
        fit = {
            number: pace
            for number, pace in self.trials_per_hour.items()
            if number == 1 or self.memory[number] <= MOST_MEMORY
        }
        fastest = max(fit.values(), default=0.0)
        return min((n for n, pace in fit.items() if WORTH * pace >= fastest), default=1)

    def __str__(self) -> str:
        """Return text such as ``"1: 31.2 trials/h, 9% of its memory; 2: ..."``."""
        paces = [
            f"{number}: {pace:.3g} trials/h, {self.memory[number]:.0%} of its memory"
            for number, pace in self.trials_per_hour.items()
        ]
        return "; ".join(filter(None, [*paces, self.note]))


class Team(Protocol):
    """Processes that share a device. Each has a `Sharer`."""

    def grow(self, number: int) -> None:
        """Start processes until there are `number` that are ready to train.

        Raises:
            Exception: if that many processes cannot be started.
        """

    def train(self, seconds: float) -> Sequence[Pace]:
        """Train in all processes at once, and return the pace of each."""


def measure_sharing(
    team: Team, *, most: int, trials: int, seconds: float = 3.0, worth_hours: float = 0.05
) -> SharedPaces:
    """Measure growing numbers of processes until more processes are not faster.

    Args:
        team: processes that share the device; none is started yet.
        most: largest number of processes.
        trials: number of trials that the device has to train. Only one process is measured if it
            needs less than `worth_hours` for all of them.
        seconds: duration of the measurement of each number of processes.
        worth_hours: time below which the start of more processes is not worthwhile.
    """
    paces: dict[int, float] = {}
    memory: dict[int, float] = {}
    for number in (number for number in NUMBERS if number <= most):
        if paces and paces[max(paces)] < max(paces.values()):
            break
        if len(memory) > 1:
            before, last = list(memory)[-2:]
            each = (memory[last] - memory[before]) / (last - before)
            if memory[last] + each * (number - last) > MOST_MEMORY:
                return SharedPaces(paces, memory, f"{number} processes would exceed its memory")
        try:
            team.grow(number)
            together = team.train(seconds)
        except Exception as error:  # a process may have been killed because memory ran out
            note = f"{number} process{'es' * (number > 1)} failed: {first_line(error)}"
            return SharedPaces(paces, memory, note)
        paces[number] = sum(pace.trials_per_hour for pace in together)
        memory[number] = max(pace.memory for pace in together)
        if number == 1 and not paces[1]:
            return SharedPaces({}, {}, "nothing could be trained")
        if number == 1 and trials / paces[1] < worth_hours:
            return SharedPaces(paces, memory, "more were not measured, because training is short")
    return SharedPaces(paces, memory)


class Sharer:
    """A pack in one of the processes that share a device."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        data_dir: Path = Path("data"),
        device: str = "cpu",
        execution: Execution = DEFAULT_EXECUTION,
    ) -> None:
        """Build the pack, and train its first steps, which take longer than others.

        This sets torch's number of threads in the process, and the modes of `Execution.prepare`.

        Args:
            recipes: recipes that can be trained as one pack.
            data_dir: folder of datasets and weights.
            device: a torch device.
            execution: options of the computation.
        """
        torch.set_num_threads(execution.threads)
        # Weights of other networks may not exist yet, and do not change the speed.
        self._recipes = [without_trained_weights(recipe) for recipe in recipes]
        self._data_dir = data_dir
        self._device = device
        self._execution = execution
        self._steps = self._train()
        next(self._steps)

    def train(self, seconds: float) -> Pace:
        """Train for a number of seconds, at least up to the next pause, and return the pace."""
        trials, begun = 0.0, time.perf_counter()
        while True:
            trials += next(self._steps)
            taken = time.perf_counter() - begun
            if taken >= seconds:
                return Pace(3600 * trials / taken, _taken(self._device))

    def _train(self) -> Iterator[float]:
        """Yield at each pause the number of trials trained since the last one; without end."""
        while True:
            pack = PackedRun(
                self._recipes,
                data_dir=self._data_dir,
                device=self._device,
                execution=self._execution,
            )
            run = pack.members[0]
            whole = run.steps_per_epoch * (run.recipe.epochs + run.recipe.batchnorm_epochs)
            done = 0
            for _ in pack.train(PAUSE_STEPS):
                steps = sum(member.step for member in pack.members)
                yield (steps - done) / whole
                done = steps


def _taken(device: str) -> float:
    """Return the fraction of the device's memory that is in use."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        return 1 - free / total
    try:
        return 1 - os.sysconf("SC_AVPHYS_PAGES") / os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0.0
