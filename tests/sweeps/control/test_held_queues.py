"""Queues whose trials are paused or cancelled while others are trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.control import gate
from sweeps.control.gate import Gate
from sweeps.control.requests import CANCEL, PAUSE, Requests
from sweeps.placement.packing import Packing
from sweeps.running.cell_queue import CellQueue
from sweeps.running.queue import TrialQueue
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialState
from tests.sweeps.placement.test_packing import SWEEP as ALIKE
from tests.sweeps.running.test_cell_queue import SWEEP, by_block, names
from tests.sweeps.running.test_other_commands import trained_elsewhere
from tests.sweeps.running.test_queues import Make, end, make, storage

__all__ = ["make", "storage"]  # fixtures
Ask = Callable[..., None]


@pytest.fixture
def requests(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0)
    return Requests(storage, "s")


def look(queue: TrialQueue) -> None:
    assert queue.gate is not None
    queue.gate.look()


def test_a_pause_of_all_hands_out_nothing_and_suggests_nothing(
    make: Make, storage: Storage, requests: Requests
) -> None:
    queue = make()
    queue.gate = Gate(requests)
    (first,) = queue.next()
    whole = requests.add(PAUSE, None)
    look(queue)
    assert queue.next() == []
    assert not queue.is_over
    assert not queue.is_paused()  # one is still pending
    queue.halt(first)  # its worker has stopped it
    assert queue.next() == []
    assert queue.is_paused()
    if isinstance(queue, StudyQueue):
        assert len(queue.study.trials) == 1
    requests.remove([whole])
    look(queue)
    assert not queue.is_paused()
    assert queue.next() == [first]
    end(queue, storage, [first])
    seen = 1
    while cells := queue.next():
        end(queue, storage, cells)
        seen += len(cells)
    assert seen == 6
    assert queue.is_over


def test_trials_that_are_paused_wait_and_the_others_go_on(
    storage: Storage, requests: Requests
) -> None:
    cells = by_block()
    queue = CellQueue(SWEEP.cells, storage)
    queue.gate = Gate(requests)
    pause = requests.add(PAUSE, [cells["parent"].fingerprint])
    look(queue)
    assert queue.next() == [cells["alone"]]
    assert queue.next() == []
    assert not queue.is_paused()
    queue.ended(cells["alone"], TrialState.COMPLETE)
    assert queue.is_paused()  # the children wait for the parent
    assert not queue.is_over
    requests.remove([pause])
    look(queue)
    assert not queue.is_paused()
    assert queue.next() == [cells["parent"]]


def test_cancelled_trials_and_those_that_need_them_are_dropped(
    storage: Storage, requests: Requests
) -> None:
    cells = by_block()
    queue = CellQueue(SWEEP.cells, storage)
    queue.gate = Gate(requests)
    (parent,) = queue.next()
    request = requests.add(CANCEL, [parent.fingerprint])
    look(queue)
    queue.halt(parent)  # its worker has stopped it
    assert names(queue) == ["alone"]
    queue.ended(cells["alone"], TrialState.COMPLETE)
    assert queue.is_over
    assert set(queue.cancelled.values()) == {request}
    assert len(queue.cancelled) == 4
    states = {cell.block: storage.trial(cell.fingerprint).state() for cell in SWEEP.cells}
    assert states["child"] is TrialState.WAITING  # and not failed


def test_a_paused_trial_can_be_cancelled(storage: Storage, requests: Requests) -> None:
    cells = by_block()
    queue = CellQueue([cells["alone"]], storage)
    queue.gate = Gate(requests)
    requests.add(PAUSE, [cells["alone"].fingerprint])
    look(queue)
    assert queue.next() == []
    assert queue.is_paused()
    requests.add(CANCEL, [cells["alone"].fingerprint])
    look(queue)
    assert not queue.is_paused()
    assert queue.next() == []
    assert queue.is_over


def test_a_cancelled_trial_that_another_command_trains_is_not_waited_for(
    storage: Storage, requests: Requests
) -> None:
    cells = by_block()
    queue = CellQueue([cells["alone"]], storage)
    queue.gate = Gate(requests)
    with trained_elsewhere(storage, cells["alone"]):
        assert queue.next() == []
        assert queue.elsewhere
        requests.add(CANCEL, [cells["alone"].fingerprint])
        look(queue)
        assert queue.next() == []
        assert queue.is_over


def test_a_pack_has_only_what_is_not_paused(tmp_path: Path, requests: Requests) -> None:
    queue = CellQueue(ALIKE.cells, Storage(tmp_path), packing=Packing(3))
    whole = queue.next()
    queue.gate = Gate(requests)
    requests.add(PAUSE, [whole[0].fingerprint])
    look(queue)
    for cell in whole:  # a pack stops as a whole
        queue.halt(cell)
    again = queue.next()
    assert again == whole[1:]
