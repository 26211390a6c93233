"""How long trials take together, against the queue that `sweeps run` starts them from."""

import heapq
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import Recipe, fingerprint, override
from quantlab.initial_weights import TrialWeights
from sweeps.placement.packing import Packing
from sweeps.planning.costs.schedule import Job, together
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import small_recipe


def child_of(recipe: Recipe) -> Recipe:
    return replace(recipe, initial_weights=TrialWeights(fingerprint(recipe)))


PARENT = small_recipe(seed=7)
SWEEP = SweepSpec(
    name="family",
    blocks=(
        Block("alone", base=small_recipe(), axes=(Axis("epochs", "epochs", (1, 2, 3)),)),
        Block("child", base=child_of(PARENT), seeds=(0, 1, 2, 3)),
        Block("grandchild", base=child_of(override(child_of(PARENT), "seed", 2)), seeds=(8, 9)),
        Block("parent", base=PARENT, seeds=(7,)),
    ),
    seeds=(0, 1, 2),
)


def by_queue(seconds: Mapping[str, float], slots: int, packing: Packing, storage: Storage) -> float:
    queue = CellQueue(SWEEP.cells, storage, packing=packing)
    running: list[tuple[float, int, list[str]]] = []
    now, started = 0.0, 0
    while not queue.is_over:
        while len(running) < slots and (cells := queue.next()):
            pack = [cell.fingerprint for cell in cells]
            heapq.heappush(running, (now + sum(seconds[one] for one in pack), started, pack))
            started += 1
        now, _, pack = heapq.heappop(running)
        for one in pack:
            queue.ended(queue.cell(one), TrialState.COMPLETE)
    return now


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 3])
def test_trials_end_when_those_of_the_queue_would(tmp_path: Path, slots: int, size: int) -> None:
    draw, packing = random.Random(slots), Packing(size)
    seconds = {cell.fingerprint: draw.uniform(1, 9) for cell in SWEEP.cells}
    jobs = [
        Job(
            fingerprint=cell.fingerprint,
            seconds=seconds[cell.fingerprint],
            parents=cell.parents,
            pack_key=packing.pack_key(cell),
        )
        for cell in SWEEP.cells
    ]
    expected = by_queue(seconds, slots, packing, Storage(tmp_path))
    assert together(jobs, slots, packing.size).seconds == pytest.approx(expected)
    assert sum(seconds.values()) / slots <= expected


def test_jobs_do_not_wait_for_trials_that_have_finished() -> None:
    jobs = [Job(fingerprint="a", seconds=2, parents=("finished",)), Job(fingerprint="b", seconds=3)]
    assert together(jobs, 2).seconds == 3
    assert together(jobs, 1).seconds == 5
    assert together([], 2).seconds == 0
