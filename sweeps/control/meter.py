"""Meter: what was spent on the trials of a sweep by all commands, as compared with its budget."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from quantlab.errors import ConfigurationError
from sweeps.control.budget import Budget, hours
from sweeps.control.listener import OVER_BUDGET, Ending
from sweeps.spec import Cell
from sweeps.spending.attempts import attempts_of
from sweeps.spending.spent import NOTHING, Spent, spent_on
from sweeps.storage.folder import Storage

LOOK_SECONDS = 5.0
"""Minimum time between two measurements."""
_MOST_OF_THE_TIME = 0.05
"""Maximum share of the time that they take, on a slow file system."""


class Meter:
    """Adds up what was spent; that on trials which have finished is read once."""

    def __init__(
        self,
        budget: Budget,
        cells: Callable[[], Sequence[Cell]],
        storage: Storage,
        *,
        counts_gpus: bool,
    ) -> None:
        """Measure nothing yet.

        Args:
            budget: a time.
            cells: returns the trials of the sweep or study, as far as they are known.
            storage: the storage of the trials.
            counts_gpus: whether the time of GPUs counts, and not that of slots.
        """
        assert budget.seconds is not None
        self._budget = budget
        self._seconds = budget.seconds
        self._cells = cells
        self._storage = storage
        self._unit = "GPU hours" if counts_gpus else "slot hours"
        self._counts_gpus = counts_gpus
        self._finished: dict[str, Spent] = {}
        self._spent = 0.0
        self._next_look = -math.inf

    def ending(self) -> Ending | None:
        """Return the ending of the command if the budget is spent; else None."""
        began = time.monotonic()
        if began >= self._next_look:
            with suppress(OSError, ConfigurationError):  # the next look may succeed
                self._spent = self._measure()
            ended = time.monotonic()
            self._next_look = ended + max(LOOK_SECONDS, (ended - began) / _MOST_OF_THE_TIME)
        if self._spent < self._seconds:
            return None
        return Ending(
            OVER_BUDGET,
            f"the budget of {self._budget} is spent: {self.spent} in all; to continue, run the "
            "same command with a larger --budget",
        )

    @property
    def spent(self) -> str:
        """What was spent as of the last look, such as ``12.5 GPU hours``."""
        return f"{hours(self._spent)} {self._unit}"

    def _measure(self) -> float:
        trials = self._storage.root / "trials"
        there = {path.name for path in trials.iterdir()} if trials.is_dir() else set()
        total = NOTHING
        for cell in self._cells():
            name = cell.fingerprint
            if name not in there:
                continue
            folder = self._storage.trial(name)
            if not folder.result.exists():  # or no more, as its network is needed and was lost
                self._finished.pop(name, None)
                total += spent_on(attempts_of(folder))
                continue
            if name not in self._finished:
                self._finished[name] = spent_on(attempts_of(folder))
            total += self._finished[name]
        return total.gpu_seconds if self._counts_gpus else total.slot_seconds
