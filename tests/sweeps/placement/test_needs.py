"""What trials reserve on machines that differ, and what is said if no machine fits."""

from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError
from quantlab.execution import Execution
from sweeps.placement.needs import Needs
from sweeps.placement.resources import Resources
from sweeps.placement.trial_memory import GIB, TrialMemory
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Block, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import quantized, small_recipe

LARGE = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:H100": 1.0, "memory": 60.0 * GIB}
SMALL = {"CPU": 2.0, "GPU": 1.0, "accelerator_type:A100": 1.0, "memory": 10.0 * GIB}
H100 = {"accelerator_type:H100": 0.01}


def sweep(**resources: Any) -> SweepSpec:
    blocks = (
        Block("anywhere", base=small_recipe()),
        Block("chosen", base=quantized(), resources=resources),
    )
    return SweepSpec(name="needs", blocks=blocks, seeds=tuple(range(6)))


def needs(
    *machines: dict[str, float], memory: float = 0.0, slots: int = 2, **options: Any
) -> Needs:
    resources = Resources(memory_per_trial=memory, **options)
    return Needs(
        resources,
        TrialMemory(memory),
        kinds=2,
        slots=slots,
        look=lambda: [dict(m) for m in machines],
    )


def test_a_block_says_what_its_trials_reserve() -> None:
    cells = sweep(**H100, memory_gib=3, CPU=2, GPU=0.5).cells
    on_gpus = needs(LARGE, SMALL, memory=1.5, gpus_per_trial=0.25)
    assert on_gpus.bundles(cells[:1]) == [{"CPU": 1.0, "GPU": 0.25, "memory": 1.5 * GIB}]
    (one,) = on_gpus.bundles(cells[-1:])
    assert one == {"CPU": 2.0, "GPU": 0.5, "memory": 3 * GIB, **H100}
    assert on_gpus.places(cells[-1:]) == 4, "its CPUs, on the one machine that has such a GPU"
    (one,) = needs(LARGE).bundles(cells[-1:])
    assert one["GPU"] == 0, "the command trains on CPUs"
    together = needs(LARGE, execution=Execution(replicas=2), cpus_per_trial=4)
    without = sweep(**H100).cells[-1:]
    assert together.bundles(without) == [{"CPU": 2.0, "GPU": 0.0, **H100}] * 2


def test_what_a_block_needs_is_no_part_of_its_trials() -> None:
    plain, chosen = sweep().cells, sweep(**H100).cells
    assert [cell.fingerprint for cell in plain] == [cell.fingerprint for cell in chosen]
    assert plain == chosen


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"H 100": 1}, r"block 'chosen': resources\['H 100'\] = 1: the name must be text without"),
        ({"memory": 1}, r"resources\['memory'\] = 1: write 'memory_gib' instead of 'memory'"),
        ({"num_gpus": 1}, "write 'GPU' instead of 'num_gpus'"),
        ({"memory_gib": -1}, r"\['memory_gib'\] = -1: must be a number of GiB > 0"),
        ({"big": 1.5}, r"\['big'\] = 1.5: must be an integer, or a fraction from 0.0001 to 1"),
        ({"big": True}, r"\['big'\] = True: must be an integer"),
        ({"big": "1"}, r"\['big'\] = '1': must be an integer"),
        ({"GPU": 2}, r"\['GPU'\] = 2: must be at most 1; --gpus-per-trial 2 trains each trial"),
    ],
)
def test_impossible_numbers_are_refused(resources: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sweep(**resources)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (
            {"accelerator_type:H10": 0.01},
            "block 'chosen': resources: no machine has 'accelerator_type:H10'; there are CPU, GPU, "
            "accelerator_type:A100, accelerator_type:H100, memory; did you mean "
            "'accelerator_type:H100'?",
        ),
        (
            {"memory_gib": 100},
            "block 'chosen': resources: no machine has 100.0 GiB of memory, at most 60.0 GiB of "
            "memory",
        ),
        ({"CPU": 9}, "block 'chosen': resources: no machine has 9 CPU, at most 8 CPU"),
        (
            {"accelerator_type:A100": 0.5, "CPU": 3},
            "block 'chosen': resources: no machine has all of 3 CPU, 0.5 accelerator_type:A100 "
            "together",
        ),
    ],
)
def test_trials_that_no_machine_can_train_are_told(
    resources: dict[str, float], message: str
) -> None:
    cells, found = sweep(**resources).cells, needs(LARGE, SMALL)
    with pytest.raises(ConfigurationError) as error:
        found.require_room(cells, is_fixed=True)
    assert str(error.value) == f"{message}; change it, or use --address of a cluster"
    warned = found.require_room(cells, is_fixed=False)  # a machine may join
    assert warned == [f"{message}; its trials are pending until such a machine joins"]
    assert found.require_room(sweep(**H100).cells, is_fixed=True) == []


def test_what_the_command_asks_of_all_trials_is_named_as_such() -> None:
    with pytest.raises(ConfigurationError, match=r"--memory-per-trial 99: no machine has 99\.0"):
        needs(SMALL, memory=99).require_room(sweep().cells, is_fixed=True)
    together = needs(LARGE, gpus_per_trial=2)
    with pytest.raises(ConfigurationError, match=r"\['GPU'\] = 1: must be omitted if 2 processes"):
        together.require_room(sweep(GPU=1).cells, is_fixed=False)


def test_each_kind_of_trials_has_its_turn(tmp_path: Path) -> None:
    """Although there is one machine with such a GPU, and two trials that may wait for it."""
    cells = sweep(**H100, CPU=8).cells
    found = needs(LARGE, SMALL, slots=4)
    queue = CellQueue(cells[::-1], Storage(tmp_path), room=found.room)
    first = [queue.next()[0].block for _ in range(9)]
    assert first.count("chosen") == 3, "one that can run, and two that wait"
    assert first[:4] == ["chosen", "anywhere"] * 2
    running = next(cell for cell in queue.pending if cell.block == "chosen")
    assert not queue.next()
    queue.ended(running, TrialState.COMPLETE)
    (after,) = queue.next()
    assert after.block == "chosen"


def test_pending_trials_do_not_take_the_places_of_a_limited_number(tmp_path: Path) -> None:
    found = needs(LARGE, SMALL, slots=4)
    found.settle(found.resources, [], Storage(tmp_path), limit=3)
    assert found.room(sweep(**H100, CPU=8).cells[-1]) == 1
    assert found.room(sweep(nowhere=1).cells[-1]) == 1, "a machine may join"
