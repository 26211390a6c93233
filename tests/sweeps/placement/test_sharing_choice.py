"""How many trials or packs share each GPU of a sweep."""

from collections.abc import Sequence

import pytest

from quantlab import Recipe
from quantlab.probing.gpu_sharing import SharedPaces
from sweeps.placement.packing import Packing
from sweeps.placement.sharing_choice import (
    choose_for_all,
    choose_sharing,
    gpu_kinds,
    most_processes,
)
from tests.sweeps.placement.test_packing import SWEEP

PACES = {1: 10.0, 2: 19.0, 4: 30.0, 8: 31.0}


@pytest.mark.parametrize(
    ("nodes", "concurrency", "expected"),
    [
        ([{"CPU": 16.0, "GPU": 1.0}], None, 8),
        ([{"CPU": 16.0, "GPU": 4.0}], None, 2),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 99.0}, {"CPU": 6.0, "GPU": 1.0}], None, 3),
        ([{"CPU": 16.0, "GPU": 1.0}], 3, 3),
        ([{"CPU": 16.0, "GPU": 2.0}], 3, 2),
        ([{"GPU": 1.0}], None, 1),
        ([{"CPU": 1.0, "GPU": 1.0}], None, 1),
    ],
)
def test_processes_need_cpus_too(
    nodes: list[dict[str, float]], concurrency: int | None, expected: int
) -> None:
    assert most_processes(nodes, cpus=2, concurrency=concurrency) == expected


def choose(
    packing: Packing, *, most: int, gpus: int = 1, memory: float = 0.05
) -> tuple[int, str, list[tuple[str, int, int, int]]]:
    """7 trials of two kinds and 5 in full precision, which need the given memory."""
    asked = []

    def measure(recipes: Sequence[Recipe], most: int, trials: int) -> SharedPaces:
        kind = "FP" if recipes[0].quantization is None else f"PC {recipes[0].epochs}"
        asked.append((kind, len(recipes), most, trials))
        found = {number: pace for number, pace in PACES.items() if number <= most}
        each = memory if kind == "FP" else 0.05
        return SharedPaces(found, {number: number * each for number in found})

    cells = [cell for cell in SWEEP.cells if cell.block != "FP" or cell.recipe.seed < 5]
    return (*choose_sharing(cells, packing, measure, most=most, gpus=gpus), asked)


def test_the_commonest_kind_is_measured_and_the_memory_of_the_others() -> None:
    number, line, asked = choose(Packing(1), most=16)
    assert number == 4
    assert line == (
        "--gpus-per-trial auto: 0.25; 4 processes run on each GPU (1: 10 trials/h, 5% of its "
        "memory; 2: 19 trials/h, 10% of its memory; 4: 30 trials/h, 20% of its memory; "
        "8: 31 trials/h, 40% of its memory)"
    )
    (first, *others) = asked
    assert first == ("PC 3", 1, 16, 19)
    assert others == [("FP", 1, 1, 1)]  # epochs need no memory


def test_packs_share_a_gpu_as_they_will_be() -> None:
    number, _, asked = choose(Packing(3), most=16, gpus=2)
    assert number == 4
    assert asked[0] == ("PC 3", 3, 4, 10)  # 8 packs for two GPUs


def test_the_kind_that_needs_the_most_memory_decides() -> None:
    number, line, _ = choose(Packing(1), most=16, memory=0.3)
    assert number == 2
    assert line.startswith("--gpus-per-trial auto: 0.5; 2 processes run on each GPU (")
    because = "; limited by the memory of ConvNet on Digits, 1: 10 trials/h, 30% of its memory)"
    assert line.endswith(because)


def test_nothing_is_measured_where_there_is_no_choice() -> None:
    for packing, most, gpus in ((Packing(1), 1, 1), (Packing(1), 16, 19), (Packing(7), 16, 3)):
        number, line, asked = choose(packing, most=most, gpus=gpus)
        assert (number, asked) == (1, [])
        assert line.startswith("--gpus-per-trial auto: 1; 1 process runs on each GPU (not measured")


def test_gpus_of_different_kinds_get_the_number_that_suits_all_of_them() -> None:
    large = {"GPU": 2.0, "accelerator_type:H100": 1.0}
    small = {"GPU": 1.0, "accelerator_type:T4": 1.0}
    kinds = gpu_kinds([large, small, {"CPU": 4.0}, large, {"GPU": 1.0}])
    assert kinds == {
        "accelerator_type:H100": [large, large],
        "accelerator_type:T4": [small],
        "": [{"GPU": 1.0}],
    }
    numbers = {"accelerator_type:H100": 8, "accelerator_type:T4": 2, "": 4}
    number, lines = choose_for_all(kinds, lambda kind, _: (numbers[kind], "as measured"))
    assert number == 2
    assert lines == [
        "H100: as measured",
        "T4: as measured",
        "unknown kind: as measured",
        "--gpus-per-trial auto: 0.5; 2 processes run on each GPU (the smallest number for any kind "
        "of GPU, as a trial may get each)",
    ]
    alone = {"accelerator_type:T4": [small]}
    assert choose_for_all(alone, lambda kind, own: (4, f"{kind} {own}")) == (
        4,
        [f"accelerator_type:T4 {[small]}"],
    )
