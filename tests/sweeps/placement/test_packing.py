"""How many trials are trained as one pack."""

from typing import Any

from quantlab.probing.pack_sizes import PackTimes
from sweeps.placement.packing import Packing, choose_packing
from sweeps.spec import Block, SweepSpec
from tests.quantlab.recipes import quantized, small_recipe

SWEEP = SweepSpec(
    name="packing",
    blocks=(
        Block("FP", base=small_recipe()),
        Block("PC", base=quantized()),
        Block("PC of one epoch", base=quantized(epochs=1)),
    ),
    seeds=tuple(range(7)),
)


def sizes(packing: Packing, key: str, count: int) -> list[int]:
    """Return the sizes of the packs of so many trials."""
    found = []
    while count:
        found.append(min(count, packing.size(key, count)))
        count -= found[-1]
    return found


def test_packs_are_filled_up_or_made_alike() -> None:
    assert sizes(Packing(27), "any", 90) == [27, 27, 27, 9]
    assert sizes(Packing(27, slots=2), "any", 90) == [23, 23, 23, 21]
    assert sizes(Packing(9, slots=4), "any", 10) == [3, 3, 3, 1]
    assert sizes(Packing({"one": 3}, slots=1), "one", 7) == [3, 3, 1]
    assert sizes(Packing({"one": 3}, slots=1), "another", 2) == [1, 1]
    limited = Packing(8)
    assert limited.limit("large", 4)
    assert not limited.limit("large", 6)
    assert sizes(limited, "large", 9) == [4, 4, 1]
    assert sizes(limited, "small", 9) == [8, 1]


def test_each_pack_key_has_its_own_best_size() -> None:
    asked = []

    def measure(cells: Any) -> PackTimes:
        asked.append([cell.block for cell in cells])
        if cells[0].block == "PC":
            return PackTimes({1: 2.0, 3: 1.0})
        return PackTimes({1: 2.0, 3: 2.1}, "9 do not fit: no memory")

    cells = [cell for cell in SWEEP.cells if cell.block != "FP" or cell.recipe.seed < 2]
    packing, lines = choose_packing(cells, measure, slots=2)
    assert asked == [["PC"] * 7, ["PC of one epoch"] * 7]  # two trials have two slots anyway
    by_block = {cell.block: packing.pack_key(cell) for cell in cells}
    assert [packing.size(by_block[block], 7) for block in ("FP", "PC", "PC of one epoch")] == [
        1,
        2,  # 3 at most, but then one of two slots would have less to do
        1,
    ]
    assert lines == [
        "7 trials of ConvNet on Digits are trained in packs of up to 3 (relative time per trial by "
        "size of the pack: 1: 1.00, 3: 0.50)",
        "7 trials of ConvNet on Digits are trained one by one (relative time per trial by size of "
        "the pack: 1: 1.00, 3: 1.05 (9 do not fit: no memory))",
        "2 trials are trained one by one, because packs would leave some of the 2 slots without "
        "work",
    ]
