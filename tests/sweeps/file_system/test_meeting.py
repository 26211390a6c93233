"""The driver and other machines look at each other's locks and new files."""

import os
import shutil
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.file_system import meeting as module
from sweeps.file_system.meeting import FOLDER, Meeting, meeting


def test_locks_are_seen_for_as_long_as_they_are_held(tmp_path: Path) -> None:
    with meeting(tmp_path) as place:
        place.require_drivers_lock()
        held = place.lock("node")
        place.require_lock_of("node", "far")
        held.close()
        with pytest.raises(ConfigurationError) as refused:
            place.require_lock_of("node", "far")
    assert str(refused.value).startswith(
        f"--storage {tmp_path}: the driver on {place.host} does not see the locks of machine far ("
    )
    assert not list((tmp_path / FOLDER).iterdir())


def test_a_drivers_lock_that_is_not_held_is_refused(tmp_path: Path) -> None:
    """As it is for a machine whose locks are its own: it may take the lock."""
    place = Meeting(tmp_path, "driver~1~0", "head")
    place.folder.mkdir(parents=True)
    (place.folder / "driver").touch()
    with pytest.raises(ConfigurationError, match="does not see the locks of the driver on head "):
        place.require_drivers_lock()


def test_a_file_that_is_not_seen_soon_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VISIBLE_SECONDS", 0.1)
    with meeting(tmp_path) as place:
        assert "does not see new files of other machines within 0.1 s" in place.late("node.new")
        place.show("node.new")
        assert place.late("node.new") == ""


def test_what_killed_drivers_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    with meeting(tmp_path) as other:  # which lives
        dead = other.folder.with_name(f"{other.host}~{2**22 + 1}~0")
        elsewhere = other.folder.with_name("elsewhere~1~0")
        reused = other.folder.with_name(f"{other.host}~{os.getppid()}~0")
        for folder in (dead, elsewhere, reused):
            shutil.copytree(other.folder, folder)
        with meeting(tmp_path):
            left = {path for path in (tmp_path / FOLDER).iterdir() if path.name[-2:] == "~0"}
            assert left == {elsewhere, reused}
            other.require_drivers_lock()
