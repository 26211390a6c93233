"""Which trial is next: those that others wait for first, and none before its initial weights."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence

from quantlab import ConfigurationError
from sweeps.packing import ALONE, Packing, Suspects
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.trial import record_failure


class Schedule:
    """Hands out the unfinished cells of a sweep.

    A cell that starts from another trial's network waits until that trial is complete, and fails
    with it. One whose process died is handed out again.
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
        self._packing = packing
        self._storage = storage
        self._names = names or {}
        self._suspects = Suspects()
        self._retries_left = {cell.fingerprint: retries for cell in cells}
        self._order = list(cells)
        self._places = {cell.fingerprint: place for place, cell in enumerate(cells)}
        self._parents = {cell.parent for cell in cells}
        self._ready: dict[str, list[tuple[bool, int]]] = defaultdict(list)
        """Kind -> heap of those that can be trained now; parents first, then as they come."""
        self._waiting: dict[str, list[Cell]] = defaultdict(list)
        self._out: dict[str, Cell] = {}
        self.fault: ConfigurationError | None = None
        """None: see `Race`."""
        self.failed_at_once: list[Cell] = []
        """Cells whose parent has diverged before."""
        hopeless = []
        for cell in cells:
            if cell.parent in self._places:
                self._waiting[cell.parent].append(cell)
            elif cell.parent is not None and self._diverged(cell.parent):
                hopeless.append(cell)
            else:
                self._push(cell)
        for cell in hopeless:
            assert cell.parent is not None
            self._fail(cell, cell.parent, TrialState.DIVERGED)
            self.failed_at_once += [cell, *self.ended(cell, TrialState.FAILED)]

    def next(self) -> list[Cell]:
        """Cells that can be trained now, as one pack; none if there are none at the moment."""
        kinds = [kind for kind, heap in self._ready.items() if heap]
        if not kinds:
            return []
        kind = min(kinds, key=lambda kind: self._ready[kind][0])
        heap = self._ready[kind]
        size = self._packing.size(kind, len(heap))
        pack = [self._order[heapq.heappop(heap)[1]] for _ in range(min(size, len(heap)))]
        self._out |= {cell.fingerprint: cell for cell in pack}
        return pack

    @property
    def out(self) -> list[Cell]:
        """Cells that were handed out and have not ended."""
        return list(self._out.values())

    def cell(self, fingerprint: str) -> Cell:
        """One of the cells."""
        return self._order[self._places[fingerprint]]

    def is_hopeless(self, fingerprint: str) -> bool:
        """Whether a trial need not be trained to its end: never, in a sweep."""
        return False

    def is_out(self, cell: Cell) -> bool:
        """Whether it was handed out, and has not ended."""
        return cell.fingerprint in self._out

    def limit_packs(self, cell: Cell, size: int) -> bool:
        """Hand out no larger packs of a cell's kind, which do not fit into memory.

        Returns:
            Whether that is news.
        """
        return self._packing.limit(self._packing.kind(cell), size)

    @property
    def num_waiting(self) -> int:
        """Cells whose initial weights are still being trained."""
        return sum(map(len, self._waiting.values()))

    @property
    def is_over(self) -> bool:
        """Whether no cell will be handed out any more."""
        return not any(self._ready.values()) and not self._waiting and not self._out

    def again(self, cell: Cell, *, counts: bool = True, of_pack: bool = False) -> bool:
        """Take back a cell whose training was cut short.

        Args:
            cell: as it was handed out.
            counts: whether this is one of its retries.
            of_pack: it was not alone, so that another one may be to blame; that is no retry, but
                after a second time it is trained alone.

        Returns:
            Whether it will be handed out again; if not, it has yet to be reported as ended.
        """
        if counts and of_pack:
            self._suspects.add(cell.fingerprint)
        elif counts:
            if self._retries_left[cell.fingerprint] == 0:
                return False
            self._retries_left[cell.fingerprint] -= 1
        if self._out.pop(cell.fingerprint, None) is not None:
            self._push(cell)
        return True

    def ended(self, cell: Cell, state: TrialState) -> list[Cell]:
        """Take note of how a trial has ended.

        Returns:
            Cells that failed because they start from this one.
        """
        self._out.pop(cell.fingerprint, None)
        children = self._waiting.pop(cell.fingerprint, [])
        failed = []
        for child in children:
            if state is TrialState.COMPLETE:
                self._push(child)
            else:
                self._fail(child, cell.fingerprint, state)
                failed += [child, *self.ended(child, TrialState.FAILED)]
        return failed

    def _push(self, cell: Cell) -> None:
        is_parent = cell.fingerprint in self._parents
        entry = (not is_parent, self._places[cell.fingerprint])
        is_alone = self._suspects.are_alone(cell.fingerprint)
        kind = cell.fingerprint if is_alone else self._packing.kind(cell)
        heapq.heappush(self._ready[kind], entry)

    def _diverged(self, fingerprint: str) -> bool:
        return self._storage.trial(fingerprint).state() is TrialState.DIVERGED

    def _fail(self, cell: Cell, parent: str, state: TrialState) -> None:
        name = repr(self._names[parent]) if parent in self._names else f"trial {parent}"
        word = "diverged" if state is TrialState.DIVERGED else "failed"
        reason = f"not started: {name}, which it starts from, {word}"
        record_failure(self._storage.trial(cell.fingerprint), reason)
