"""Trial folders and the storage."""

import errno
import json
import os
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.storage import Storage, TrialState
from sweeps.storage import folder as storage_folder
from sweeps.storage.record_files import read_text
from sweeps.storage.records import Failure, Result, Stopped, values_of
from sweeps.storage.sealed_json import plain
from tests.sweeps.trial_files import ended, epoch


def test_states_are_read_off_the_files(tmp_path: Path) -> None:
    folder = Storage(tmp_path).trial("abc")
    assert folder.state() is TrialState.WAITING
    folder.path.mkdir(parents=True)
    folder.recipe.write_text("{}")
    assert folder.state() is TrialState.INTERRUPTED
    with folder.locked():
        assert folder.state() is TrialState.RUNNING
        assert folder.state() is TrialState.RUNNING
    assert folder.state() is TrialState.INTERRUPTED
    folder.failure.write(Failure(error="x", time=0))
    assert folder.state() is TrialState.FAILED
    folder.clear()
    assert folder.state() is TrialState.INTERRUPTED
    folder.stopped.write(Stopped(by="x", time=0))
    assert folder.state() is TrialState.STOPPED
    folder.clear()
    assert folder.state() is TrialState.INTERRUPTED
    folder.result.write(ended())
    assert folder.state() is TrialState.COMPLETE


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, the open file is gone then."""
    file = tmp_path / "file"
    file.write_text("old")
    open_file = os.open

    def replaced_meanwhile(path: Path, flags: int) -> int:
        monkeypatch.undo()
        file.write_text("new")
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "open", replaced_meanwhile)
    assert read_text(file) == "new"
    assert os.open is open_file


def test_the_path_of_a_storage_has_no_way_back(tmp_path: Path) -> None:
    assert Storage(tmp_path / "a" / ".." / "runs").root == tmp_path / "runs"
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/folder")
    there = tmp_path / "link" / ".." / "runs"  # far/runs
    assert Storage(there).root == there


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
    assert folder.history.read_text().count("\n") == 2  # what is beyond is gone, not doubled later
    folder.append_history(epoch(3))
    assert [record.epoch for record in folder.read_history()] == [1, 2, 3]


def test_a_record_that_is_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the new content is written, and not yet in its place."""
    folder = Storage(tmp_path).trial("abc")
    folder.make()
    folder.failure.write(Failure(error="the first", time=0))
    before = folder.failure.path.read_bytes()

    def kill(file: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        folder.failure.write(Failure(error="the second", time=1))
    assert folder.failure.path.read_bytes() == before


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    refused = pytest.raises(ConfigurationError, match=r"another `sweeps` command uses it")
    with storage.locked(), refused, storage.locked():
        pass
    with storage.locked():
        pass


def test_a_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"--storage .*file/runs: cannot be written"):
        Storage(tmp_path / "file" / "runs").require_writable()


def test_records_from_before_there_were_seals_are_read(tmp_path: Path) -> None:
    folder = Storage(tmp_path).trial("abc")
    folder.make()
    result = {"state": "COMPLETE", "time": 1.5, "epochs": 1, "steps": 4, "test_accuracy": 0.5}
    folder.result.path.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    old = {name: item for name, item in values_of(epoch(1)).items() if name != "weight_histogram"}
    folder.history.write_text(json.dumps(old) + "\n")
    assert folder.result.read() == ended(time=1.5, epochs=1, steps=4)
    assert list(map(plain, folder.read_history())) == [plain(epoch(1))]


def test_a_metric_of_the_user_may_have_any_value_and_the_name_of_another(tmp_path: Path) -> None:
    """Only a text without a digest is checked by what the metrics of the release can be."""
    trial = Storage(tmp_path).trial("abc")
    trial.make()
    result = ended(test_accuracy=93.5, validation_accuracy=-2.0)
    own = epoch(1, validation_accuracy_latent=93.5)
    trial.result.write(result)
    trial.append_history(own)
    assert trial.result.read() == result
    assert list(trial.read_history()) == [own]
    old = {"state": "COMPLETE", "time": 1.5, "epochs": 1, "test_accuracy": 93.5}
    trial.result.path.write_text(json.dumps(old) + "\n")
    trial.history.write_text(json.dumps(values_of(own)) + "\n")
    assert trial.result.read() is None
    assert not trial.read_history()


def test_commands_that_mark_a_new_storage_at_once_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one looks, and another one marks the storage before it goes on."""
    for content in (None, "damaged"):
        storage = Storage(tmp_path / str(content))
        storage.root.mkdir()
        if content is not None:
            (storage.root / ".mark").write_text(content)
        found: list[str] = []

        def look(path: Path, found: list[str] = found, storage: Storage = storage) -> str | None:
            before = read_text(path)
            monkeypatch.undo()
            found.append(storage.mark())
            return before

        monkeypatch.setattr(storage_folder, "read_text", look)
        assert storage.mark() == found[0] == storage.mark()
        storage.require_mark(found[0])


@pytest.mark.parametrize(
    "content",
    ["", "[]\n", "{}\n", '{"state": "DONE", "time": 1, "epochs": 1}\n', "\0\0\0", '{"state": 1\n'],
)
def test_a_damaged_result_gives_one_warning_and_is_ignored(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Storage(tmp_path).trial("abc")
    folder.make()
    folder.recipe.write_text("{}")
    folder.result.path.write_text(content)
    assert folder.state() is folder.state() is TrialState.INTERRUPTED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sweeps: warning: {folder.result.path}: is damaged (")
    assert line.endswith("run `sweeps run` to train the trial again")
    folder.clear()
    assert not folder.result.exists()
    assert (folder.path / "result.json.damaged").read_text() == content


def test_a_record_of_another_trial_or_a_changed_one_is_damaged(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    mine, other = storage.trial("mine"), storage.trial("other")
    for folder in (mine, other):
        folder.make()
    mine.result.write(ended(test_accuracy=0.25))
    text = mine.result.path.read_text()
    other.result.path.write_text(text)
    assert other.result.read() is None
    mine.result.path.write_text(text.replace("0.25", "0.75"))
    assert mine.result.read() is None


def test_a_record_of_a_later_version_is_neither_damaged_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Storage(tmp_path).trial("abc")
    folder.make()
    monkeypatch.setattr(Result, "VERSION", 2)
    folder.result.write(ended())
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match=r"result\.json: has version 2, .*; update the"):
        folder.state()


def test_what_a_killed_process_was_writing_is_removed_before_training(tmp_path: Path) -> None:
    """But for what the driver may be writing."""
    folder = Storage(tmp_path).trial("a")
    folder.make()
    left = [".weights.pt.1.partial", ".history.jsonl.2.partial", ".checkpoint.next.pt.3.partial"]
    drivers = [".failure.json.4.partial", ".delivery.json.5.partial"]
    for name in (*left, *drivers):
        (folder.path / name).write_text("half")
    folder.clear()
    assert sorted(path.name for path in folder.path.glob(".*.partial")) == sorted(drivers)
