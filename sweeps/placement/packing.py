"""Packing: which trials are trained as one pack, and how many of them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from quantlab.errors import ConfigurationError
from sweeps.cell import Cell, fact

if TYPE_CHECKING:
    from quantlab.probing.pack_sizes import PackTimes


class Packing:
    """How many trials are trained as one pack. Trials with the same pack key may share a pack."""

    def __init__(self, sizes: int | Mapping[str, int], *, slots: int | None = None) -> None:
        """Set the size of packs.

        Args:
            sizes: the maximum number of trials in a pack, for all pack keys or for each; trials of
                other keys are trained one by one.
            slots: number of packs that run at once; packs are made smaller if their work would
                otherwise be unequal. None to fill packs to their maximum.
        """
        self._sizes = sizes
        self._slots = slots
        self._limits: dict[str, int] = {}
        self._most_ready: dict[str, int] = {}

    def for_slots(self, slots: int) -> "Packing":
        """Return this packing for another number of slots; itself if it does not depend on it."""
        return self if self._slots is None else Packing(self._sizes, slots=slots)

    def pack_key(self, cell: Cell) -> str:
        """Return the key that trials of one pack share; that of their kind if none is packed."""
        return kind_of(cell) if self._sizes == 1 else pack_key_of(cell)

    def size(self, key: str, ready: int) -> int:
        """Return the size of the next pack.

        Args:
            key: the pack key.
            ready: number of trials with this key that can be trained now.
        """
        most = self._sizes if isinstance(self._sizes, int) else self._sizes.get(key, 1)
        most = min(most, self._limits.get(key, most))
        if self._slots is None or most == 1:
            return most
        count = self._most_ready[key] = max(ready, self._most_ready.get(key, 0))
        rounds = math.ceil(count / (self._slots * most))
        return math.ceil(count / (self._slots * rounds))

    def limit(self, key: str, size: int) -> bool:
        """Limit the size of packs that do not fit into memory.

        Args:
            key: the pack key.
            size: the maximum number of trials in a pack.

        Returns:
            Whether this is lower than the limit so far.
        """
        is_lower = size < self._limits.get(key, size + 1)
        if is_lower:
            self._limits[key] = size
        return is_lower


ALONE = Packing(1)
"""Trains every trial alone."""


def kind_of(cell: Cell) -> str:
    """Return a key of what a trial needs of its machine; empty if its block names nothing.

    Trials of different kinds are not trained in one pack.
    """
    return json.dumps(sorted(cell.resources.items())) if cell.resources else ""


def pack_key_of(cell: Cell) -> str:
    """Return the key that trials of one pack share; the fingerprint if it cannot be packed."""
    return kind_of(cell) + _pack_key_of_recipe(cell)


@fact
def _pack_key_of_recipe(cell: Cell) -> str:
    from quantlab.packs.compatibility import pack_key

    try:
        return pack_key(cell.recipe)
    except ConfigurationError:
        return cell.fingerprint


def by_pack_key(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Group trials by their pack key."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(pack_key_of(cell), []).append(cell)
    return groups


def choose_packing(
    cells: Sequence[Cell], measure: Callable[[Sequence[Cell]], "PackTimes"], *, slots: int
) -> tuple[Packing, list[str]]:
    """Choose the fastest packs, by measuring each pack key that has more trials than slots.

    Args:
        cells: the trials to train.
        measure: measures the time of packs of the given cells.
        slots: how many trials or packs run at once.

    Returns:
        The packing, and a line for each pack key that describes the measurement.
    """
    sizes, lines = {}, []
    few = 0
    for key, alike in by_pack_key(cells).items():
        if len(alike) <= slots:
            few += len(alike)
            continue
        times = measure(alike)
        sizes[key] = times.best
        recipe = alike[0].recipe
        chosen = "one by one" if times.best == 1 else f"in packs of up to {times.best}"
        lines.append(
            f"{len(alike)} trials of {recipe.model.name} on {recipe.dataset.name} are trained "
            f"{chosen} (relative time per trial by size of the pack: {times})"
        )
    if few:
        lines.append(
            f"{few} trials are trained one by one, because packs would leave some of the {slots} "
            "slots without work"
        )
    return Packing(sizes, slots=slots), lines
