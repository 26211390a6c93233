"""CellQueue: the trials of a sweep, in the order in which they are trained."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sweeps.placement.packing import ALONE, Packing
from sweeps.running.queue import TrialQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.worker.trial import record_failure


class CellQueue(TrialQueue):
    """The unfinished cells of a sweep; cells from whose networks others start come first.

    A cell that starts from the network of another trial waits until that trial is complete. If the
    trial fails or diverges, the cell fails too.
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
        """Create the queue. Cells whose parent has diverged already fail at once.

        Args:
            cells: unfinished cells; the parent of each is among them or has finished.
            storage: the storage of the trials.
            retries: how many times a trial is retried if its process dies.
            names: fingerprint -> name of trials, for messages.
            packing: how many cells are trained as one pack.
        """
        super().__init__(retries=retries, packing=packing)
        self._storage = storage
        self._names = names or {}
        self._order = list(cells)
        self._places = {cell.fingerprint: place for place, cell in enumerate(cells)}
        self._parents = {cell.parent for cell in cells}
        self._ready: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        """Pack key -> heap of the cells that can be trained now: parents first, then in order."""
        self._waiting: dict[str, list[Cell]] = defaultdict(list)
        self.failed_at_once: list[Cell] = []
        """Cells whose parent had diverged before the queue was created."""
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
        keys = [key for key, heap in self._ready.items() if heap]
        if not keys:
            return []
        key = min(keys, key=lambda key: self._ready[key][0])
        heap = self._ready[key]
        size = self._packing.size(key, len(heap))
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
        heapq.heappush(self._ready[self._pack_key(cell)], entry)

    def _diverged(self, fingerprint: str) -> bool:
        return self._storage.trial(fingerprint).state() is TrialState.DIVERGED

    def _fail(self, cell: Cell, parent: str, state: TrialState) -> None:
        name = repr(self._names[parent]) if parent in self._names else f"trial {parent}"
        outcome = "diverged" if state is TrialState.DIVERGED else "failed"
        reason = f"not started, because {name}, from whose network it starts, {outcome}"
        record_failure(self._storage.trial(cell.fingerprint), reason)
