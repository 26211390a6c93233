"""CellQueue: the trials of a sweep, those that others wait for first."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sweeps.placement.packing import ALONE, Packing
from sweeps.running.queue import TrialQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.worker.trial import record_failure


class CellQueue(TrialQueue):
    """Hands out the unfinished cells of a sweep.

    A cell that starts from another trial's network waits until that trial is complete, and fails
    with it.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        storage: Storage,
        *,
        retries: int = 0,
        names: Mapping[str, str] | None = None,
        packing: Packing = ALONE,
    ) -> None:
        """Nothing is handed out yet, but cells whose parent has diverged fail at once.

        Args:
            cells: those that are not finished; a parent is among them, or finished.
            storage: where trials lie.
            retries: how often a cell is handed out again.
            names: fingerprint -> name, of trials that messages may speak of.
            packing: how many cells of a kind are trained as one.
        """
        super().__init__(retries=retries, packing=packing)
        self._storage = storage
        self._names = names or {}
        self._order = list(cells)
        self._places = {cell.fingerprint: place for place, cell in enumerate(cells)}
        self._parents = {cell.parent for cell in cells}
        self._ready: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        """Kind -> heap of those that can be trained now; parents first, then as they come."""
        self._waiting: dict[str, list[Cell]] = defaultdict(list)
        self.failed_at_once: list[Cell] = []
        """Cells whose parent has diverged before."""
        orphans = []
        for cell in cells:
            if cell.parent in self._places:
                self._waiting[cell.parent].append(cell)
            elif cell.parent is not None and self._diverged(cell.parent):
                orphans.append(cell)
            else:
                self._put_back(cell)
        for cell in orphans:
            assert cell.parent is not None
            self._fail(cell, cell.parent, TrialState.DIVERGED)
            self.failed_at_once += [cell, *self.ended(cell, TrialState.FAILED)]

    def next(self) -> list[Cell]:
        kinds = [kind for kind, heap in self._ready.items() if heap]
        if not kinds:
            return []
        kind = min(kinds, key=lambda kind: self._ready[kind][0])
        heap = self._ready[kind]
        size = self._packing.size(kind, len(heap))
        pack = [self._order[heapq.heappop(heap)[1]] for _ in range(min(size, len(heap)))]
        self._pending |= {cell.fingerprint: cell for cell in pack}
        return pack

    def cell(self, fingerprint: str) -> Cell:
        return self._order[self._places[fingerprint]]

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_over(self) -> bool:
        return not any(self._ready.values()) and not self._waiting and not self._pending

    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        self._pending.pop(cell.fingerprint, None)
        children = self._waiting.pop(cell.fingerprint, [])
        failed = []
        for child in children:
            if state is TrialState.COMPLETE:
                self._put_back(child)
            else:
                self._fail(child, cell.fingerprint, state)
                failed += [child, *self.ended(child, TrialState.FAILED)]
        return failed

    def _put_back(self, cell: Cell) -> None:
        is_parent = cell.fingerprint in self._parents
        entry = (not is_parent, self._places[cell.fingerprint])
        heapq.heappush(self._ready[self._kind(cell)], entry)

    def _diverged(self, fingerprint: str) -> bool:
        return self._storage.trial(fingerprint).state() is TrialState.DIVERGED

    def _fail(self, cell: Cell, parent: str, state: TrialState) -> None:
        name = repr(self._names[parent]) if parent in self._names else f"trial {parent}"
        word = "diverged" if state is TrialState.DIVERGED else "failed"
        reason = f"not started: {name}, which it starts from, {word}"
        record_failure(self._storage.trial(cell.fingerprint), reason)
