"""Which trial is next: those that others wait for first, and none before its initial weights."""

import heapq
from collections import defaultdict
from collections.abc import Sequence

from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.trial import record_failure


class Schedule:
    """Hands out the unfinished cells of a sweep.

    A cell that starts from another trial's network waits until that trial is complete, and fails
    with it.
    """

    def __init__(self, cells: Sequence[Cell], storage: Storage) -> None:
        """Nothing is handed out yet, but cells whose parent has diverged fail at once.

        Args:
            cells: those that are not finished; a parent is among them, or finished.
            storage: where trials lie.
        """
        self._storage = storage
        self._places = {cell.fingerprint: place for place, cell in enumerate(cells)}
        self._cells = {cell.fingerprint: cell for cell in cells}
        self._waiting: dict[str, list[Cell]] = defaultdict(list)
        self._ready: list[tuple[bool, int]] = []
        self._order = list(cells)
        parents = {cell.parent for cell in cells}
        self._is_parent = {key for key in self._cells if key in parents}
        hopeless = []
        for cell in cells:
            if cell.parent in self._cells:
                self._waiting[cell.parent].append(cell)
            elif cell.parent is not None and self._diverged(cell.parent):
                self._fail(cell, f"trial {cell.parent}, which it starts from, diverged")
                hopeless.append(cell)
            else:
                self._push(cell)
        self.failed_at_once = [
            *hopeless,
            *(child for cell in hopeless for child in self.ended(cell)),
        ]
        """Cells whose parent has diverged before."""

    def next(self) -> Cell | None:
        """A cell that can be trained now; None if there is none at the moment."""
        if not self._ready:
            return None
        return self._order[heapq.heappop(self._ready)[1]]

    @property
    def num_waiting(self) -> int:
        """Cells whose initial weights are still being trained."""
        return sum(map(len, self._waiting.values()))

    @property
    def is_over(self) -> bool:
        """Whether no cell will be handed out any more."""
        return not self._ready and not self._waiting

    def ended(self, cell: Cell) -> list[Cell]:
        """Take note that a trial has ended, as its folder says.

        Returns:
            Cells that failed because they start from this one.
        """
        state = self._storage.trial(cell.fingerprint).state()
        children = self._waiting.pop(cell.fingerprint, [])
        if state is TrialState.COMPLETE:
            for child in children:
                self._push(child)
            return []
        failed = []
        for child in children:
            word = "diverged" if state is TrialState.DIVERGED else "failed"
            self._fail(child, f"{cell.name!r}, which it starts from, {word}")
            failed += [child, *self.ended(child)]
        return failed

    def _push(self, cell: Cell) -> None:
        is_parent = cell.fingerprint in self._is_parent
        heapq.heappush(self._ready, (not is_parent, self._places[cell.fingerprint]))

    def _diverged(self, fingerprint: str) -> bool:
        return self._storage.trial(fingerprint).state() is TrialState.DIVERGED

    def _fail(self, cell: Cell, reason: str) -> None:
        folder = self._storage.trial(cell.fingerprint)
        folder.path.mkdir(parents=True, exist_ok=True)
        record_failure(folder, f"not started: {reason}")
