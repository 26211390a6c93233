"""A storage remembers the file of a sweep, which may define another sweep now."""

from pathlib import Path

import pytest

from sweeps.control.commands import registered
from sweeps.control.requests import Requests
from sweeps.inventory.known_sweeps import recorded, remember_study, remember_sweep
from sweeps.joining.of_storage import sweeps_in
from sweeps.loading import load_sweep
from sweeps.searching.known_studies import studies_of
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage
from sweeps.storage.records import Origin
from tests.conftest import Command
from tests.sweeps import made_studies
from tests.sweeps.sweep_files import TINY, changed

NAMES = ("first_try", "second_try")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A storage that knows sweeps of two names of one file, which now defines the second one."""
    storage, file = Storage(tmp_path / "runs"), tmp_path / "mine.py"
    storage.require_writable()
    for name in NAMES:
        define(name, tmp_path)
        remember_sweep(load_sweep(str(file)), str(file), storage)
    return storage


def define(name: str, folder: Path) -> None:
    """Let the file define a sweep of a name."""
    (folder / "mine.py").write_text(changed(TINY, 'name="tiny"', f'name="{name}"'))


def test_a_request_to_a_file_is_for_the_sweep_that_it_defines_now(
    storage: Storage, tmp_path: Path, quick_command: Command
) -> None:
    first, second = (Requests(storage, name) for name in NAMES)
    with registered(second, Origin(command="sweeps run mine.py")):
        said = quick_command(tmp_path, "cancel", "mine.py", "--wait", "0")
        assert "Asked" in said.stdout, said.stdout
    quick_command(tmp_path, "pause", "mine.py", "--wait", "0")
    assert len(second.paused()) == 1
    assert not first.standing()
    quick_command(tmp_path, "resume", "mine.py")
    assert not second.paused()
    define("third_try", tmp_path)
    said = quick_command(tmp_path, "pause", "mine.py")
    assert said.returncode == 2
    assert "first_try and second_try were defined there; give one of these names" in said.stderr
    assert said.stderr.count("\n") == 1
    assert quick_command(tmp_path, "pause", "first_try", "--wait", "0").returncode == 0
    assert len(first.paused()) == 1


@pytest.mark.parametrize("command", ["status", "watch"])
def test_a_name_is_not_taken_for_what_its_file_defines_now(
    storage: Storage, tmp_path: Path, quick_command: Command, command: str
) -> None:
    said = quick_command(tmp_path, command, "first_try")
    assert said.returncode == 2
    assert "first_try: its file mine.py defines 'second_try' now; give the file" in said.stderr
    assert said.stderr.count("\n") == 1
    assert "second_try" in quick_command(tmp_path, command, "second_try").stdout


def test_a_joined_report_has_each_sweep_once(storage: Storage) -> None:
    ((source,), (note,)) = sweeps_in(storage.root)
    assert source.sweep.name == "second_try"
    assert "sweep first_try in" in note
    assert "mine.py defines second_try now" in note


def test_a_study_keeps_its_trials_when_its_file_defines_another(tmp_path: Path) -> None:
    """Otherwise they would be of no study for `sweeps rm --orphans`."""
    storage, file = Storage(tmp_path / "runs"), tmp_path / "made.py"
    storage.require_writable()
    for name in ("made", "another"):
        queue = StudyQueue(made_studies.spec(name=name, configurations=3), storage)
        made_studies.run(queue, storage)
        queue.close()
        remember_study(name, str(file), queue.cells, storage)
    (before,) = (known for known in recorded(storage) if known.name == "made")
    text = "from tests.sweeps import made_studies\n\nSTUDY = made_studies.spec(name={!r})\n"
    for name in ("made", "another"):
        file.write_text(text.format(name))
        (known,) = (one for one in studies_of(storage, from_files=True) if one.name == "made")
        assert set(known.all_trials) == set(before.all_trials)
