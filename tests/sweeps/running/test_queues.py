"""What the driver relies on: the queue of a sweep and the queue of a study keep one contract."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.pruners import NopPruner

from sweeps.placement.packing import Packing
from sweeps.running.cell_queue import CellQueue
from sweeps.running.queue import TrialQueue
from sweeps.running.retries import Retries
from sweeps.searching.study_queue import StudyQueue
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import small_recipe
from tests.sweeps.made_studies import finish, spec

NUM_TRIALS = 6
Make = Callable[..., TrialQueue]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.fixture(params=["sweep", "study"])
def make(request: pytest.FixtureRequest, storage: Storage) -> Make:
    """Return a function that makes a queue of six trials with one pack key."""

    def of_sweep(*, retries: int = 0, pack: int = 1) -> TrialQueue:
        blocks = (Block("b", base=small_recipe()),)
        sweep = SweepSpec(name="six", blocks=blocks, seeds=tuple(range(NUM_TRIALS)))
        return CellQueue(sweep.cells, storage, retries=retries, packing=Packing(pack))

    def of_study(*, retries: int = 0, pack: int = 1) -> TrialQueue:
        study = spec(configurations=NUM_TRIALS, seeds=(0,), pruner=NopPruner())
        return StudyQueue(study, storage, retries=retries, packing=Packing(pack))

    return of_sweep if request.param == "sweep" else of_study


def end(queue: TrialQueue, storage: Storage, cells: list[Cell]) -> None:
    for cell in cells:
        if isinstance(queue, StudyQueue):
            assert queue.ended(cell, finish(storage, cell)) == []
        else:
            assert queue.ended(cell, TrialState.COMPLETE) == []


def test_each_trial_is_handed_out_once(make: Make, storage: Storage) -> None:
    queue = make()
    seen: list[str] = []
    while cells := queue.next():
        assert cells == queue.pending
        for cell in cells:
            assert queue.is_pending(cell)
            assert queue.cell(cell.fingerprint) == cell
        seen += [cell.fingerprint for cell in cells]
        assert not queue.is_over
        end(queue, storage, cells)
        assert queue.pending == []
    assert len(seen) == len(set(seen)) == NUM_TRIALS
    assert queue.next() == []
    assert queue.is_over
    assert queue.fault is None


def test_what_is_pending_keeps_the_queue_from_being_over(make: Make, storage: Storage) -> None:
    queue = make()
    pending = []
    while cells := queue.next():
        pending += cells
    assert len(pending) == NUM_TRIALS
    assert not queue.is_over
    end(queue, storage, pending[1:])
    assert not queue.is_over
    end(queue, storage, pending[:1])
    queue.next()  # a study looks whether there is more
    assert queue.is_over


def test_a_trial_is_retried_as_often_as_allowed(make: Make) -> None:
    queue = make(retries=2)
    (cell,) = queue.next()
    for counts in (True, False, True, False):  # a preempted machine is not counted
        assert queue.retry(cell, counts=counts)
        assert not queue.is_pending(cell)
        assert queue.next() == [cell]
    assert not queue.retry(cell)
    assert queue.is_pending(cell)
    queue.ended(cell, TrialState.FAILED)
    assert not queue.is_pending(cell)


def test_each_trial_has_its_own_retries(make: Make) -> None:
    queue = make(retries=1)
    (first,), (second,) = queue.next(), queue.next()
    assert queue.retry(first)
    assert queue.retry(second)
    handed_out = queue.next() + queue.next()
    assert {cell.fingerprint for cell in handed_out} == {first.fingerprint, second.fingerprint}
    assert not queue.retry(first)
    assert not queue.retry(second)


def test_trials_of_a_pack_that_died_twice_are_trained_alone(make: Make) -> None:
    queue = make(retries=1, pack=3)
    pack = queue.next()
    assert len(pack) == 3
    for _ in range(2):
        for cell in pack:
            assert queue.retry(cell, of_pack=True)
        handed_out = []
        while cells := queue.next():
            handed_out.append(cells)
    sizes = [len(cells) for cells in handed_out if any(cell in pack for cell in cells)]
    assert sizes == [1, 1, 1]
    assert queue.retry(pack[0])  # its own retry is not spent
    assert not queue.retry(pack[0])


def test_packs_get_no_larger_than_memory_holds(make: Make) -> None:
    queue = make(pack=4)
    first = queue.next()
    assert len(first) == 4
    assert queue.limit_packs(first[0], 2)
    assert not queue.limit_packs(first[0], 2)
    assert not queue.limit_packs(first[0], 3)
    assert len(queue.next()) == 2
    assert queue.limit_packs(first[0], 1)


def test_nothing_is_pruned_without_a_curve(make: Make) -> None:
    queue = make()
    (cell,) = queue.next()
    assert not queue.should_prune(cell.fingerprint)
    assert not queue.should_prune("unknown")


def test_packs_are_to_blame_before_their_trials() -> None:
    retries = Retries(0)
    assert retries.grant("a", of_pack=True)
    assert not retries.is_alone("a")
    assert retries.grant("a", of_pack=True)
    assert retries.is_alone("a")
    assert not retries.is_alone("b")
    assert not retries.grant("a")
    assert not retries.grant("b")
    assert retries.grant("b", counts=False)
