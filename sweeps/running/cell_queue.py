"""CellQueue: the trials of a sweep, in the order in which they are trained."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sweeps.control.priorities import USUAL, Priority
from sweeps.control.requests import Request
from sweeps.placement.packing import ALONE, Packing, kind_of
from sweeps.running.queue import TrialQueue
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.worker.trial_writer import record_failure

_Entry = tuple[int, int, bool, int]
"""The order of cells: by their priority, then parents before others, then by their place."""


class CellQueue(TrialQueue):
    """The unfinished cells of a sweep; of equal priority, those whose networks others need first.

    A cell that needs the networks of other trials, to start from or as its teacher, waits until
    these trials are complete. If one of them fails or diverges, the cell fails too.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        storage: Storage,
        *,
        retries: int = 0,
        names: Mapping[str, str] | None = None,
        packing: Packing = ALONE,
        priorities: Mapping[str, Priority] = MappingProxyType({}),
        room: Callable[[Cell], int] | None = None,
    ) -> None:
        """Create the queue. Cells of which a parent has diverged already fail at once.

        Args:
            cells: unfinished cells; the parents of each are among them or have finished.
            storage: the storage of the trials.
            retries: how many times a trial is retried if its process dies.
            names: fingerprint -> name of trials, for messages.
            packing: how many cells are trained as one pack.
            priorities: fingerprint -> see `sweeps.control.priorities`.
            room: how many trials or packs of the kind of a cell may be pending, so that those of
                other kinds have their turn; None for any number. See `Needs.room`.
        """
        super().__init__(storage, retries=retries, packing=packing)
        self._names = names or {}
        self._room = room if len(set(map(kind_of, cells))) > 1 else None
        self._order = list(cells)
        self._places = {cell.fingerprint: place for place, cell in enumerate(cells)}
        self._parents = {parent for cell in cells for parent in cell.parents}
        self._priorities = priorities
        self._ready: dict[str, list[_Entry]] = defaultdict(list)
        """Pack key -> heap of the cells that can be trained now."""
        self._waiting: dict[str, set[str]] = {}
        """Fingerprint of a cell -> those of the cells that must be complete before it starts."""
        self._children: dict[str, list[Cell]] = defaultdict(list)
        self.failed_at_once: list[Cell] = []
        """Cells of which a parent had diverged before the queue was created."""
        orphans = []
        for cell in cells:
            self._others.forgive(cell)
            diverged = [one for one in cell.parents if self._has_diverged(one)]
            if diverged:
                orphans.append((cell, diverged[0]))
            elif needed := self._places.keys() & cell.parents:
                self._waiting[cell.fingerprint] = needed
                for parent in needed:
                    self._children[parent].append(cell)
            else:
                self._put_back(cell)
        for cell, parent in orphans:
            self._fail(cell, parent, TrialState.DIVERGED)
            self.failed_at_once += [cell, *self.ended(cell, TrialState.FAILED)]

    def _next(self) -> list[Cell]:
        ranks = {key: heap[0] for key, heap in self._ready.items() if heap}
        key = (
            self._next_of_kinds(ranks)
            if self._room
            else min(ranks, key=lambda key: ranks[key], default=None)
        )
        if key is None:
            return []
        heap = self._ready[key]
        size = self._packing.size(key, len(heap))
        pack = [self._order[heapq.heappop(heap)[-1]] for _ in range(min(size, len(heap)))]
        self._pending |= {cell.fingerprint: cell for cell in pack}
        return pack

    def _next_of_kinds(self, ranks: Mapping[str, _Entry]) -> str | None:
        """Return the pack key to train next: of the kind of which the fewest trials are pending.

        Trials of one kind must not fill the queue of Ray while machines for others are idle.
        """
        assert self._room is not None
        pending = Counter(map(kind_of, self._pending.values()))
        found = []
        for key, rank in ranks.items():
            cell = self._order[rank[-1]]
            count = pending[kind_of(cell)]
            if count < self._room(cell) * self._packing.size(key, len(self._ready[key])):
                found.append((rank[:-1], count, rank[-1], key))
        return min(found)[-1] if found else None

    def cell(self, fingerprint: str) -> Cell:
        return self._order[self._places[fingerprint]]

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_over(self) -> bool:
        ready = self._ready.values()
        left = (self._waiting, self._pending, self._paused, self.elsewhere, *ready)
        return not any(left)

    @property
    def _is_ready(self) -> bool:
        return any(self._ready.values())

    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        self._pending.pop(cell.fingerprint, None)
        failed = []
        for child in self._children.pop(cell.fingerprint, []):
            if (needed := self._waiting.pop(child.fingerprint, None)) is None:
                continue  # it has failed because of another parent
            if state is not TrialState.COMPLETE:
                self._fail(child, cell.fingerprint, state)
                failed += [child, *self.ended(child, TrialState.FAILED)]
            elif left := needed - {cell.fingerprint}:
                self._waiting[child.fingerprint] = left
            else:
                self._put_back(child)
        return failed

    def _put_back(self, cell: Cell) -> None:
        is_parent = cell.fingerprint in self._parents
        first, second = self._priorities.get(cell.fingerprint, USUAL)
        entry = (-first, -second, not is_parent, self._places[cell.fingerprint])
        heapq.heappush(self._ready[self._pack_key(cell)], entry)

    def _drop(self, cell: Cell, request: Request) -> None:
        super()._drop(cell, request)
        for child in self._children.pop(cell.fingerprint, []):
            if self._waiting.pop(child.fingerprint, None) is not None:
                self._drop(child, request)

    def _has_diverged(self, fingerprint: str) -> bool:
        is_to_train = fingerprint in self._places
        state = None if is_to_train else self._storage.trial(fingerprint).state()
        return state is TrialState.DIVERGED

    def _fail(self, cell: Cell, parent: str, state: TrialState) -> None:
        name = repr(self._names[parent]) if parent in self._names else f"trial {parent}"
        outcome = "diverged" if state is TrialState.DIVERGED else "failed"
        role = "from whose network it starts" if parent == cell.starts_from else "its teacher"
        reason = f"not started, because {name}, {role}, {outcome}"
        record_failure(self._storage.trial(cell.fingerprint), reason)
