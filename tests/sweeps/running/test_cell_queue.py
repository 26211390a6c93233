"""Which trial is next, where some start from others' networks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quantlab import ConfigurationError, Distillation, Recipe, fingerprint, override
from quantlab.initial_weights import TrialWeights
from quantlab.models.convnet import ConvNet
from sweeps.placement.packing import Packing
from sweeps.planning.preflight import preflight
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Failure
from sweeps.worker.trial import run_trial
from tests.quantlab.recipes import small_recipe
from tests.sweeps.trial_files import ended


def child_of(recipe: Recipe) -> Recipe:
    return replace(recipe, initial_weights=TrialWeights(fingerprint(recipe)))


PARENT = small_recipe(seed=7)
CHILD = child_of(PARENT)
SWEEP = SweepSpec(
    name="family",
    blocks=(
        Block("alone", base=small_recipe()),
        Block("child", base=CHILD, axes=(Axis("batch", "batch_size", (10, 20)),)),
        Block("grandchild", base=child_of(replace(CHILD, batch_size=10, seed=0)), seeds=(3,)),
        Block("parent", base=PARENT, seeds=(7,)),
    ),
    seeds=(0,),
)


def finish(storage: Storage, cell: Cell, state: TrialState) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    if state is TrialState.FAILED:
        folder.failure.write(Failure(error="RuntimeError: broken", time=0))
    else:
        folder.result.write(ended(state))


def names(queue: CellQueue) -> list[str]:
    """All that can be trained now."""
    found = []
    while cells := queue.next():
        found += [cell.block for cell in cells]
    return found


def by_block() -> dict[str, Cell]:
    return {cell.block: cell for cell in SWEEP.cells}


def test_parents_come_first_and_children_wait(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    queue = CellQueue(SWEEP.cells, storage)
    assert queue.num_waiting == 3
    assert names(queue) == ["parent", "alone"]
    assert not queue.is_over
    assert queue.ended(cells["parent"], TrialState.COMPLETE) == []
    (first,) = queue.next()
    assert first.name == "child batch=10 seed=0"  # the grandchild's parent, before its sibling
    assert names(queue) == ["child"]
    queue.ended(first, TrialState.COMPLETE)
    assert names(queue) == ["grandchild"]
    assert not queue.is_over
    for cell in queue.pending:
        queue.ended(cell, TrialState.COMPLETE)
    assert queue.is_over


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.DIVERGED])
def test_a_failed_parent_fails_its_descendants(state: TrialState, tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    queue = CellQueue(SWEEP.cells, storage, names={c.fingerprint: c.name for c in SWEEP.cells})
    assert names(queue) == ["parent", "alone"]
    failed = queue.ended(cells["parent"], state)
    assert [cell.block for cell in failed] == ["child", "grandchild", "child"]
    assert queue.pending == [cells["alone"]]
    word = "failed" if state is TrialState.FAILED else "diverged"
    errors = []
    for cell in failed:
        folder = storage.trial(cell.fingerprint)
        assert folder.state() is TrialState.FAILED
        failure = folder.failure.read()
        assert failure is not None
        errors.append(failure.error)
    assert errors[0].startswith("not started, because 'parent seed=7', ")
    assert errors[0].endswith(word)
    assert errors[1].startswith("not started, because 'child batch=10 seed=0', ")
    assert errors[1].endswith("failed")


def test_a_parent_that_diverged_before_fails_its_descendants_at_once(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    finish(storage, cells["parent"], TrialState.DIVERGED)
    left = [cell for cell in SWEEP.cells if cell.block != "parent"]
    preflight(left, storage, tmp_path)
    queue = CellQueue(left, storage)
    assert len(queue.failed_at_once) == 3
    assert names(queue) == ["alone"]
    assert queue.num_waiting == 0


def test_what_was_cut_short_is_handed_out_again_but_not_for_ever(tmp_path: Path) -> None:
    alone = by_block()["alone"]
    queue = CellQueue([alone], Storage(tmp_path), retries=2)
    for counts in (True, False, True):
        assert queue.next() == [alone]
        assert queue.next() == []
        assert queue.retry(alone, counts=counts)
        assert not queue.is_over
    assert queue.next() == [alone]
    assert not queue.retry(alone)
    queue.ended(alone, TrialState.FAILED)
    assert queue.is_over


def test_a_parent_that_is_not_in_the_sweep_must_be_complete(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    with pytest.raises(ConfigurationError, match="it must be trained first"):
        preflight([cells["child"]], storage, tmp_path)
    finish(storage, cells["parent"], TrialState.COMPLETE)
    torch.save({}, storage.trial(fingerprint(PARENT)).weights)
    preflight([cells["child"]], storage, tmp_path)
    assert names(CellQueue([cells["child"]], storage)) == ["child"]


def with_teacher(recipe: Recipe, teacher: Recipe, start: Recipe) -> Recipe:
    weights = TrialWeights(fingerprint(teacher))
    distillation = Distillation(teacher=weights, model=teacher.model)
    start_weights = TrialWeights(fingerprint(start))
    return replace(recipe, distillation=distillation, initial_weights=start_weights)


TEACHER = small_recipe(model=ConvNet(width=6), seed=9)
TAUGHT = SweepSpec(
    name="school",
    blocks=(
        Block("student", base=with_teacher(small_recipe(), TEACHER, PARENT)),
        Block("both", base=with_teacher(small_recipe(epochs=1), PARENT, PARENT)),
        Block("start", base=PARENT, seeds=(7,)),
        Block("teacher", base=TEACHER, seeds=(9,)),
    ),
    seeds=(0,),
)


def test_a_student_waits_for_its_teacher_and_for_the_network_it_starts_from(
    tmp_path: Path,
) -> None:
    cells = {cell.block: cell for cell in TAUGHT.cells}
    assert len(cells["both"].parents) == 1
    for order in (("start", "teacher"), ("teacher", "start")):
        queue = CellQueue(TAUGHT.cells, Storage(tmp_path))
        assert queue.num_waiting == 2
        assert names(queue) == ["start", "teacher"]
        for name in order:
            assert "student" not in names(queue)
            assert queue.ended(cells[name], TrialState.COMPLETE) == []
        assert "student" in [*names(queue), *(cell.block for cell in queue.pending)]
        for cell in queue.pending:
            queue.ended(cell, TrialState.COMPLETE)
        assert queue.is_over


def test_a_student_fails_once_with_either_of_both(tmp_path: Path) -> None:
    cells = {cell.block: cell for cell in TAUGHT.cells}
    titles = {cell.fingerprint: cell.name for cell in TAUGHT.cells}
    for first, then, role in (
        ("teacher", "start", "'teacher seed=9', its teacher, diverged"),
        ("start", "teacher", "'start seed=7', from whose network it starts, diverged"),
    ):
        storage = Storage(tmp_path / first)
        queue = CellQueue(TAUGHT.cells, storage, names=titles)
        names(queue)
        failed = queue.ended(cells[first], TrialState.DIVERGED)
        assert cells["student"] in failed
        assert cells["student"] not in queue.ended(cells[then], TrialState.FAILED)
        failure = storage.trial(cells["student"].fingerprint).failure.read()
        assert failure is not None
        assert failure.error == f"not started, because {role}"
        assert queue.is_over
    finish(Storage(tmp_path), cells["teacher"], TrialState.DIVERGED)
    left = [cell for cell in TAUGHT.cells if cell.block != "teacher"]
    queue = CellQueue(left, Storage(tmp_path))
    assert queue.failed_at_once == [cells["student"]]
    assert names(queue) == ["start"]
    assert queue.ended(cells["start"], TrialState.COMPLETE) == []
    assert names(queue) == ["both"]


def test_a_teacher_outside_of_the_sweep_must_be_complete_and_of_the_stated_network(
    tmp_path: Path,
) -> None:
    storage, folder = Storage(tmp_path), Storage(tmp_path).trial(fingerprint(TEACHER))
    student = with_teacher(small_recipe(), TEACHER, TEACHER)
    student = replace(student, initial_weights=None)
    (cell,) = SweepSpec(name="s", blocks=(Block("student", base=student),), seeds=(0,)).cells
    with pytest.raises(ConfigurationError, match="it must be trained first"):
        preflight([cell], storage, tmp_path)
    run_trial(TEACHER, folder, data_dir=tmp_path)
    preflight([cell], storage, tmp_path)
    wrong = override(student, "distillation.model", None)
    said = (
        r"'student seed=0': Distillation.model = None: must be ConvNet\(width=6\), the network of"
    )
    blocks = Block("student", base=wrong), Block("teacher", base=TEACHER, seeds=(9,))
    both = SweepSpec(name="s", blocks=blocks, seeds=(0,)).cells
    for those in (list(both), list(both[:1])):  # by the teacher's recipe, and by its folder
        with pytest.raises(ConfigurationError, match=said):
            preflight(those, storage, tmp_path)


def test_packs_are_of_one_kind_and_parents_come_first(tmp_path: Path) -> None:
    blocks = (
        Block("small batches", base=replace(small_recipe(), batch_size=10)),
        Block("large batches", base=small_recipe()),
        Block("parent", base=replace(PARENT, batch_size=10), seeds=(7,)),
        Block("child", base=child_of(replace(PARENT, batch_size=10)), seeds=(1, 2)),
    )
    sweep = SweepSpec(name="packs", blocks=blocks, seeds=(0, 1, 2))
    queue = CellQueue(sweep.cells, Storage(tmp_path), retries=1, packing=Packing(3))
    packs = [[(cell.block, cell.recipe.seed) for cell in pack] for pack in iter(queue.next, [])]
    assert packs == [
        [("parent", 7), ("small batches", 0), ("small batches", 1)],
        [("small batches", 2)],
        [("large batches", 0), ("large batches", 1), ("large batches", 2)],
    ]
    (parent,) = (cell for cell in sweep.cells if cell.block == "parent")
    small = next(cell for cell in sweep.cells if cell.block == "small batches")
    queue.limit_packs(small, 2)
    queue.ended(parent, TrialState.COMPLETE)
    assert queue.retry(small, of_pack=True)
    assert [len(pack) for pack in iter(queue.next, [])] == [2, 1]
    # After a second time it is tried alone, with all its retries, so that it harms nobody else.
    assert queue.retry(small, of_pack=True)
    assert next(iter(queue.next, [])) == [small]
    assert queue.retry(small)
    assert next(iter(queue.next, [])) == [small]
    assert not queue.retry(small)
