"""Which trials are trained as one pack, and how many of them."""

import math
from collections.abc import Callable, Mapping, Sequence

from quantlab import ConfigurationError
from quantlab.packs.compatibility import pack_key
from quantlab.probing.pack_sizes import PackTimes
from sweeps.spec import Cell


class Packing:
    """How many trials of a kind become a pack; those of a kind may be in one."""

    def __init__(self, sizes: int | Mapping[str, int], *, slots: int | None = None) -> None:
        """Of one size for all kinds, or of one for each.

        Args:
            sizes: the most trials in a pack; a kind that is not there is trained one by one.
            slots: make packs smaller where these places would otherwise have unequal work; None
                to fill packs up.
        """
        self._sizes = sizes
        self._slots = slots
        self._limits: dict[str, int] = {}
        self._most_ready: dict[str, int] = {}

    def for_slots(self, slots: int) -> "Packing":
        """The same for other places, if packs are made alike at all."""
        return self if self._slots is None else Packing(self._sizes, slots=slots)

    def kind(self, cell: Cell) -> str:
        """What trials of a pack have in common; empty if none are packed."""
        return "" if self._sizes == 1 else kind_of(cell)

    def size(self, kind: str, ready: int) -> int:
        """How many of the trials of a kind that are ready make the next pack."""
        most = self._sizes if isinstance(self._sizes, int) else self._sizes.get(kind, 1)
        most = min(most, self._limits.get(kind, most))
        if self._slots is None or most == 1:
            return most
        count = self._most_ready[kind] = max(ready, self._most_ready.get(kind, 0))
        rounds = math.ceil(count / (self._slots * most))
        return math.ceil(count / (self._slots * rounds))

    def limit(self, kind: str, size: int) -> bool:
        """Packs of a kind do not fit into memory above a size; returns whether that is news."""
        is_news = size < self._limits.get(kind, size + 1)
        if is_news:
            self._limits[kind] = size
        return is_news


ALONE = Packing(1)
"""Every trial by itself."""


def kind_of(cell: Cell) -> str:
    """What a trial has in common with those it can be packed with; its own name if with none."""
    try:
        return pack_key(cell.recipe)
    except ConfigurationError:
        return cell.fingerprint


def by_kind(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Those that can be packed together, by what they have in common."""
    kinds: dict[str, list[Cell]] = {}
    for cell in cells:
        kinds.setdefault(kind_of(cell), []).append(cell)
    return kinds


def choose_packing(
    cells: Sequence[Cell], measure: Callable[[Sequence[Cell]], PackTimes], *, slots: int
) -> tuple[Packing, list[str]]:
    """The fastest packs, by measuring every kind of which there are more trials than slots.

    Args:
        cells: to be trained.
        measure: times packs of given cells.
        slots: how many trials or packs run at once.

    Returns:
        The packing, and what there is to say about it, a line a kind.
    """
    sizes, lines = {}, []
    few = 0
    for kind, alike in by_kind(cells).items():
        if len(alike) <= slots:
            few += len(alike)
            continue
        times = measure(alike)
        sizes[kind] = times.best
        recipe = alike[0].recipe
        chosen = "one by one" if times.best == 1 else f"in packs of up to {times.best}"
        lines.append(
            f"{len(alike)} trials of {recipe.model.name} on {recipe.dataset.name}: {chosen} "
            f"(time a trial by size of the pack: {times})"
        )
    if few:
        lines.append(f"{few} trials: one by one (no more of a kind than places: {slots})")
    return Packing(sizes, slots=slots), lines
