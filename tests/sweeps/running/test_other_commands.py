"""Two queues on one storage, as of two commands: each trial is left to the one that trains it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sweeps.placement.packing import Packing
from sweeps.running import other_commands
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Failure
from tests.sweeps.placement.test_packing import SWEEP as ALIKE
from tests.sweeps.running.test_cell_queue import SWEEP, by_block
from tests.sweeps.running.test_queues import Make, end, make, storage
from tests.sweeps.trial_files import ended

__all__ = ["make", "storage"]  # fixtures


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_commands, "LOOK_SECONDS", 0)
    monkeypatch.setattr(other_commands, "_MOST_OF_THE_TIME", 1e9)


@contextmanager
def trained_elsewhere(storage: Storage, cell: Cell) -> Iterator[None]:
    """Hold the lock of a trial, as the worker of another command."""
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.recipe.touch()
    with folder.locked():
        yield


def complete(storage: Storage, cell: Cell) -> None:
    """End a trial, as the worker of another command."""
    folder = storage.trial(cell.fingerprint)
    folder.make()
    torch.save({}, folder.weights)
    folder.result.write(ended(validation_accuracy=0.5))


def fail(storage: Storage, cell: Cell, *, is_transient: bool = False, time: float = 1.0) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.failure.write(Failure(error="OSError: away", is_transient=is_transient, time=time))


def test_a_trial_that_another_command_trains_is_left_to_it(make: Make, storage: Storage) -> None:
    queue = make()
    (cell,) = queue.next()
    with trained_elsewhere(storage, cell):
        queue.leave(cell)  # its worker has found the lock taken
        assert queue.elsewhere == [cell]
        assert not queue.is_pending(cell)
        while cells := queue.next():
            assert cell not in cells
            end(queue, storage, cells)
        assert not queue.is_over
        complete(storage, cell)
    assert queue.next() == []
    assert queue.elsewhere == []
    assert queue.is_over


def test_what_a_command_that_died_has_left_is_taken_over(make: Make, storage: Storage) -> None:
    queue = make()
    (cell,) = queue.next()
    with trained_elsewhere(storage, cell):
        queue.leave(cell)
        while cells := queue.next():
            end(queue, storage, cells)
    assert queue.next() == [cell]
    end(queue, storage, [cell])
    queue.next()
    assert queue.is_over


def test_what_ends_elsewhere_is_not_trained_again_and_is_told(tmp_path: Path) -> None:
    """The children of a parent that another command has trained can be trained here."""
    storage, cells = Storage(tmp_path), by_block()
    queue = CellQueue(SWEEP.cells, storage)
    told: list[tuple[str, TrialState]] = []

    def tell(cell: Cell, state: TrialState) -> None:
        told.append((cell.block, state))
        queue.ended(cell, state)

    queue.on_ended_elsewhere = tell
    with trained_elsewhere(storage, cells["parent"]):
        assert queue.next() == [cells["alone"]]
        assert queue.elsewhere == [cells["parent"]]
        assert queue.num_waiting == 3
        complete(storage, cells["parent"])
    (child,) = queue.next()
    assert child.block == "child"
    assert told == [("parent", TrialState.COMPLETE)]


def test_a_pack_has_only_what_no_other_command_trains(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    whole = CellQueue(ALIKE.cells, storage, packing=Packing(3)).next()
    assert len(whole) == 3
    with trained_elsewhere(storage, whole[0]):
        queue = CellQueue(ALIKE.cells, storage, packing=Packing(3))
        assert queue.next() == whole[1:]


def test_a_failure_elsewhere_is_final_but_one_from_before_is_not(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    parent, alone = cells["parent"], cells["alone"]
    fail(storage, alone)
    queue = CellQueue(SWEEP.cells, storage)
    fail(storage, parent)
    assert queue.next() == [alone]
    assert not queue.elsewhere
    assert queue.num_waiting == 0  # the children of the failed trial have failed, too
    states = {cell.block: storage.trial(cell.fingerprint).state() for cell in SWEEP.cells}
    assert states["child"] is states["grandchild"] is TrialState.FAILED
    fail(storage, alone, time=2.0)  # by our own worker, and then it is retried
    assert not queue.retry(alone)
    retrying = CellQueue([alone], storage, retries=1)
    assert retrying.next() == [alone]
    fail(storage, alone, time=3.0)
    assert retrying.retry(alone)
    assert retrying.next() == [alone]


def test_a_failure_that_another_attempt_may_survive_is_not_final(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), by_block()
    queue = CellQueue([cells["alone"]], storage)
    fail(storage, cells["alone"], is_transient=True)
    assert queue.next() == [cells["alone"]]


def test_a_network_that_is_missing_is_trained_again(tmp_path: Path) -> None:
    """The trial has a result, but others need its network."""
    storage, parent = Storage(tmp_path), by_block()["parent"]
    queue = CellQueue([parent], storage)
    complete(storage, parent)
    storage.trial(parent.fingerprint).weights.unlink()
    assert queue.next() == [parent]
