"""How many processes should share a GPU: measured, while 1, 2, 4, ... of them train at once."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from quantlab.errors import first_line
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun
from quantlab.recipe import Recipe

NUMBERS = (1, 2, 4, 8, 16)
"""Of processes, that are tried as far as there is room for them."""

WORTH = 1.05
"""More processes must train so many times as many trials in the same time."""

MOST_MEMORY = 0.8
"""Of the device, for all processes together: evaluations take more than the steps measured here."""

PAUSE_STEPS = 5


@dataclass(frozen=True)
class Pace:
    """What one process did in a while, and how full the device was at its end."""

    trials_per_hour: float
    memory: float
    """Of the whole device, taken by whomever; in [0, 1]."""


@dataclass(frozen=True)
class SharedPaces:
    """What so many processes did at once."""

    trials_per_hour: Mapping[int, float]
    """Number of processes -> trials an hour of all of them; empty if nothing was measured."""
    memory: Mapping[int, float]
    """Number of processes -> the part of the device's memory that was taken."""
    note: str = ""
    """Why more processes were not tried, if not because fewer were as fast."""

    @property
    def best(self) -> int:
        """The least number that is nearly the fastest, of those that memory has room for."""
        fit = {
            number: pace
            for number, pace in self.trials_per_hour.items()
            if number == 1 or self.memory[number] <= MOST_MEMORY
        }
        fastest = max(fit.values(), default=0.0)
        return min((n for n, pace in fit.items() if WORTH * pace >= fastest), default=1)

    def __str__(self) -> str:
        """``"1: 31.2 trials/h, 9 % of its memory; 2: ..."``."""
        paces = [
            f"{number}: {pace:.3g} trials/h, {self.memory[number]:.0%} of its memory"
            for number, pace in self.trials_per_hour.items()
        ]
        return "; ".join(filter(None, [*paces, self.note]))


class Team(Protocol):
    """Processes that share a device, with a `Sharer` in each."""

    def grow(self, number: int) -> None:
        """Have so many of them, all ready to train; whatever an exception says, they are not."""

    def train(self, seconds: float) -> Sequence[Pace]:
        """What each did while all of them trained."""


def measure_sharing(
    team: Team, *, most: int, trials: int, seconds: float = 3.0, worth_hours: float = 0.05
) -> SharedPaces:
    """Let more and more processes train, until more of them are no faster.

    Args:
        team: of no processes yet.
        most: processes.
        trials: that one device is to train; nothing more is measured if one process needs less
            than `worth_hours` for them.
        seconds: to measure each number of processes for.
        worth_hours: what takes less is over before more processes have started.
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
                return SharedPaces(paces, memory, f"{number} would not fit into its memory")
        try:
            team.grow(number)
            together = team.train(seconds)
        except Exception as error:  # one of them may have died for want of memory
            return SharedPaces(paces, memory, f"{number} together: {first_line(error)}")
        paces[number] = sum(pace.trials_per_hour for pace in together)
        memory[number] = max(pace.memory for pace in together)
        if number == 1 and trials / paces[1] < worth_hours:
            return SharedPaces(paces, memory, "over too soon to measure more")
    return SharedPaces(paces, memory)


class Sharer:
    """A pack in one of the processes, which is trained for a while whenever it is asked to."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        data_dir: Path = Path("data"),
        device: str = "cpu",
        execution: Execution = DEFAULT_EXECUTION,
    ) -> None:
        """Build the pack, and train its first steps, which take longer than others.

        Args:
            recipes: that fit into one pack.
            data_dir: where datasets lie.
            device: a torch device.
            execution: how to compute.
        """
        torch.set_num_threads(execution.threads)
        # Initial weights may not be there yet, and do not matter here.
        self._recipes = [replace(recipe, initial_weights=None) for recipe in recipes]
        self._data_dir = data_dir
        self._device = device
        self._execution = execution
        self._steps = self._train()
        next(self._steps)

    def train(self, seconds: float) -> Pace:
        """Train for so long, at least up to the next pause."""
        trials, begun = 0.0, time.perf_counter()
        while True:
            trials += next(self._steps)
            taken = time.perf_counter() - begun
            if taken >= seconds:
                return Pace(3600 * trials / taken, _taken(self._device))

    def _train(self) -> Iterator[float]:
        """How much of a trial was trained since the last pause, of all members; without end."""
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
    """The part of the device's memory that is not free."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        return 1 - free / total
    try:
        return 1 - os.sysconf("SC_AVPHYS_PAGES") / os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0.0
