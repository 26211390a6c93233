"""TrialMemory: how much memory a trial or pack reserves, so that no machine is overfilled.

Ray counts the memory that its processes reserve, and does not limit what they use. If a machine
runs out of memory all the same, Ray's memory monitor kills a process. Then fewer trials than before
run at once (`fewer_at_once`).
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quantlab.execution import Execution
from sweeps.block import MEMORY_GIB
from sweeps.cell import Cell, fact
from sweeps.placement.resources import times_in
from sweeps.storage.folder import Storage

if TYPE_CHECKING:
    from quantlab import Recipe

GIB = 2**30
"""Bytes of a GiB."""

MARGIN = 1.1
"""How much more is reserved than was measured."""

MOST_READ = 20
"""Number of finished trials of each kind whose memory is read."""


def memory_of(recipe: "Recipe") -> str:
    """Return what the memory of a trial depends on, as text."""
    from quantlab.canonical import canonical  # torch, which plans of kept outlines do not need

    taught = recipe.distillation
    parts = {
        "model": recipe.model,
        "teacher": None if taught is None else taught.model or recipe.model,
        "dataset": recipe.dataset,
        "batch_size": recipe.batch_size,
        "accumulation": recipe.accumulation,
        "is_quantized": recipe.quantization is not None,
        "has_moving_average": recipe.moving_average is not None,
        "optimizer": recipe.optimizer.algorithm,
    }
    return json.dumps(canonical(parts), sort_keys=True)


@fact
def _memory_key(cell: Cell) -> str:
    return memory_of(cell.recipe)


class TrialMemory:
    """The memory of the trials of a run: as given, as their block says, or as measured."""

    def __init__(self, given: float | None = 0.0) -> None:
        """Start without measurements.

        Args:
            given: GiB of a trial or pack whose block names none; None for what was measured.
        """
        self._given = given
        self._peaks: dict[str, dict[int, float]] = defaultdict(dict)
        """Key of the memory -> size of a pack -> its largest peak in GiB."""
        self._latest: dict[str, dict[int, float]] = defaultdict(dict)
        """The same for the trials of this run, by whose peaks nothing is reserved."""
        self._raised: dict[str, float] = {}
        """Key of the memory -> GiB that are reserved since a process was killed."""

    @classmethod
    def measured(
        cls, finished: Iterable[Cell], storage: Storage, *, device: str, execution: Execution
    ) -> "TrialMemory":
        """Return the memory of trials by that of finished ones of the same sweep or study.

        Args:
            finished: trials, of which those count that have finished.
            storage: the storage of the trials.
            device: type of the torch device, ``cpu`` or ``cuda``.
            execution: how the trials will be computed; others need another amount of memory.
        """
        memory = cls(None)
        alike: dict[str, str] = {}  # trials that differ in their seed only need the same
        read: dict[str, int] = defaultdict(int)
        for cell in finished:
            if cell.configuration_id not in alike:
                alike[cell.configuration_id] = _memory_key(cell)
            key = alike[cell.configuration_id]
            if read[key] >= MOST_READ:
                continue
            result = storage.trial(cell.fingerprint).result.read()
            if result is None or result.memory_gib is None or result.execution != str(execution):
                continue
            if result.device.startswith(device):
                read[key] += 1
                _note(memory._peaks[key], result.pack, result.memory_gib)
        return memory

    def is_given(self, cell: Cell) -> bool:
        """Whether a user has set the memory of a trial."""
        return MEMORY_GIB in cell.resources or bool(self._given)

    def given_for(self, cell: Cell) -> float:
        """Return how many GiB a user has set for a trial or its pack; 0 for none."""
        return cell.resources.get(MEMORY_GIB, self._given) or 0.0

    def of(self, cells: Sequence[Cell]) -> float:
        """Return how many GiB each process reserves that trains a trial or pack; 0 for none.

        The number of the block has precedence over that of the command line, and both over what was
        measured.

        Args:
            cells: the trials of a pack.
        """
        first = cells[0]
        gib = first.resources.get(MEMORY_GIB, self._given)
        if gib is None:
            gib = math.ceil(10 * MARGIN * self._peak(self._peaks, cells)) / 10
        return max(gib, self._raised.get(_memory_key(first), 0.0)) if self._raised else gib

    def note(self, cells: Sequence[Cell], gib: float) -> None:
        """Note the peak so far of a trial or pack that is trained now.

        Args:
            cells: the trials of the pack.
            gib: its memory in GiB.
        """
        _note(self._latest[_memory_key(cells[0])], len(cells), gib)

    def fewer_at_once(
        self,
        packs: Sequence[Sequence[Cell]],
        most: int,
        gib: float,
        *,
        smallest: float = math.inf,
    ) -> int:
        """Reserve so much that fewer trials run at once than when a process was killed.

        The number is what the measured memory allows, or else half of what it was. It is larger
        if a trial would otherwise reserve more than a smaller machine has, which would then stay
        idle, although a trial fits there.

        Args:
            packs: the trials or packs that ran.
            most: how many of them one machine can have had.
            gib: the memory of the largest machine in GiB.
            smallest: that of the smallest machine on which one of them has room.

        Returns:
            The number of trials or packs that run at once on such a machine from now on; 0 if there
            was but one, so that nothing is changed.
        """
        if most <= 1:
            return 0
        peak = max(self._peak(self._latest, pack) for pack in packs)
        fit = times_in(gib, MARGIN * peak) if peak else most
        fewer = max(1, fit if fit < most else most // 2)
        share = math.floor(100 * gib / fewer) / 100
        small = math.floor(100 * smallest) / 100 if smallest < math.inf else math.inf
        if share > small >= MARGIN * peak and (with_small := times_in(gib, small)) < most:
            share, fewer = small, with_small
        for pack in packs:
            key = _memory_key(pack[0])
            self._raised[key] = max(share, self._raised.get(key, 0.0))
        return fewer

    def _peak(self, peaks: dict[str, dict[int, float]], cells: Sequence[Cell]) -> float:
        """Return an upper bound of the memory of a pack by those of packs like it; 0 if unknown.

        A pack needs no more than a larger one, and no more than its multiple of a smaller one.
        """
        found = peaks.get(_memory_key(cells[0]), {}) if peaks else {}
        bounds = (gib * max(1.0, len(cells) / size) for size, gib in found.items())
        return min(bounds, default=0.0)


def _note(peaks: dict[int, float], size: int, gib: float) -> None:
    peaks[size] = max(gib, peaks.get(size, 0.0))
