"""OtherCommands: what other commands on the same storage do with the trials of a queue.

Commands share a storage by the locks of its trials: the process that trains a trial holds its lock,
which is released if the process dies. There is no other agreement between them.
"""

import math
import time

from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState

LOOK_SECONDS = 1.0
"""Minimum time between two looks at all trials that other commands train."""
_MOST_OF_THE_TIME = 0.1
"""Maximum share of the time that the looks take, on a slow file system."""


class OtherCommands:
    """The trials of a queue that other commands train, and those that they have trained."""

    def __init__(self, storage: Storage) -> None:
        """Start without trials.

        Args:
            storage: the storage of the trials.
        """
        self._storage = storage
        self._training: dict[str, Cell] = {}
        self._failures: dict[str, float] = {}
        """Fingerprint -> time of the failure after which this command trains the trial again."""
        self._next_look = -math.inf

    @property
    def training(self) -> list[Cell]:
        """Trials that another command trained when this one looked last."""
        return list(self._training.values())

    def forgive(self, cell: Cell) -> None:
        """Remember the failure of a trial that is to be trained again, if there is one."""
        failure = self._storage.trial(cell.fingerprint).failure.read()
        if failure is not None:
            self._failures[cell.fingerprint] = failure.time

    def state(self, cell: Cell) -> TrialState | None:
        """Look at a trial that this command is about to train.

        Returns:
            RUNNING if another command trains it now; the state in which it ended, if another
            command has trained it to its end; None if it is to be trained here.
        """
        folder = self._storage.trial(cell.fingerprint)
        state = folder.state()
        if state is TrialState.RUNNING:
            return state
        if state.is_finished:  # but its network may be missing or damaged
            return state if folder.is_done() else None
        if state is not TrialState.FAILED:
            return None
        failure = folder.failure.read()
        is_final = failure is not None and not failure.is_transient
        is_new = failure is not None and failure.time != self._failures.get(cell.fingerprint)
        return state if is_final and is_new else None

    def add(self, cell: Cell) -> None:
        """Keep a trial that another command trains until `returned` returns it."""
        self._training[cell.fingerprint] = cell

    def forget(self, cell: Cell) -> None:
        """Keep a trial no longer, whatever the other command does."""
        self._training.pop(cell.fingerprint, None)

    def returned(self) -> list[Cell]:
        """Return, once, the trials that no other command trains any more, ended or not."""
        began = time.monotonic()
        if not self._training or began < self._next_look:
            return []
        found = [cell for cell in self.training if self.state(cell) is not TrialState.RUNNING]
        for cell in found:
            del self._training[cell.fingerprint]
        ended = time.monotonic()
        self._next_look = ended + max(LOOK_SECONDS, (ended - began) / _MOST_OF_THE_TIME)
        return found
