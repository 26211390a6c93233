"""LateResults: trials that have finished, as their workers say, without a result that is seen here.

On a network file system, a machine may see a new file after half a minute only.
"""

import time

from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState

SEEN_WITHIN_SECONDS = 300.0
"""How long a result is waited for. Clients of NFS keep for a minute what they know of a folder."""


class LateResults:
    """The finished trials whose results this machine does not see yet."""

    def __init__(self, storage: Storage) -> None:
        """Start without trials.

        Args:
            storage: the storage of the trials.
        """
        self._storage = storage
        self._waiting: dict[str, tuple[Cell, TrialState, float]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no result is waited for."""
        return not self._waiting

    def is_late(self, cell: Cell, state: TrialState) -> bool:
        """Whether a trial has ended in a state that has a result, which is not seen yet."""
        return state.is_finished and not self._storage.trial(cell.fingerprint).result.exists()

    def add(self, cell: Cell, state: TrialState) -> None:
        """Keep a trial until `seen` returns it."""
        until = time.monotonic() + SEEN_WITHIN_SECONDS
        self._waiting.setdefault(cell.fingerprint, (cell, state, until))

    def seen(self) -> list[tuple[Cell, TrialState]]:
        """Return, once, the trials whose result is seen now, or was waited for long enough."""
        found = [
            (cell, state)
            for cell, state, until in self._waiting.values()
            if time.monotonic() > until or not self.is_late(cell, state)
        ]
        for cell, _ in found:
            del self._waiting[cell.fingerprint]
        return found
