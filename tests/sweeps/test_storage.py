"""Trial folders and the storage."""

from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.records import Failure
from sweeps.storage import Storage, TrialState
from tests.sweeps.trial_files import ended, epoch


def test_states_are_read_off_the_files(tmp_path: Path) -> None:
    folder = Storage(tmp_path).trial("abc")
    assert folder.state() is TrialState.WAITING
    folder.path.mkdir(parents=True)
    folder.recipe.write_text("{}")
    assert folder.state() is TrialState.RUNNING
    folder.failure.write(Failure(error="x", time=0))
    assert folder.state() is TrialState.FAILED
    folder.result.write(ended())
    assert folder.state() is TrialState.COMPLETE


def test_history_survives_a_line_cut_short(tmp_path: Path) -> None:
    folder = Storage(tmp_path).trial("abc")
    folder.path.mkdir(parents=True)
    assert folder.read_history() == []
    for number in (1, 2, 3):
        folder.append_history(epoch(number))
    with folder.history.open("a") as file:
        file.write('{"epoch": 4')
    assert [record.epoch for record in folder.read_history()] == [1, 2, 3]
    folder.rewind_history(2)
    folder.append_history(epoch(3))
    assert [record.epoch for record in folder.read_history()] == [1, 2, 3]


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    refused = pytest.raises(ConfigurationError, match=r"another `sweeps` command is at work")
    with storage.locked(), refused, storage.locked():
        pass
    with storage.locked():
        pass


def test_a_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"--storage .*file/runs: cannot be written"):
        Storage(tmp_path / "file" / "runs").require_writable()
