"""The records of sweeps, while several commands change them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweeps.archive import taking
from sweeps.inventory import known_sweeps
from sweeps.inventory.known_sweeps import KnownSweep, recorded, remember_sweep
from sweeps.loading import load_sweep
from sweeps.selection.selected import selected
from sweeps.spec import SweepSpec
from sweeps.storage import Storage
from tests.sweeps.sweep_files import TINY


def interrupted(
    monkeypatch: pytest.MonkeyPatch, module: Any, writes: str, other: Callable[[], object]
) -> threading.Thread:
    """Let another thread run when a function is about to write what it has read.

    Args:
        monkeypatch: restores the function.
        module: the module of the function that writes.
        writes: its name.
        other: what the thread does; it may have to wait until the first one has written.

    Returns:
        The thread, which has not been started.
    """
    thread = threading.Thread(target=other)
    write = getattr(module, writes)

    def later(*arguments: object) -> None:
        if threading.current_thread() is not thread:
            thread.start()
            thread.join(0.5)
        write(*arguments)

    monkeypatch.setattr(module, writes, later)
    return thread


def test_trials_of_two_commands_that_record_them_at_once_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, sweep = Storage(tmp_path), load_sweep("pull_smoke")

    def part(seed: int) -> SweepSpec:
        return selected(sweep, only=[f"seed={seed}"], seeds=f"{seed}")[0]

    parts = part(7), part(8)
    other = interrupted(
        monkeypatch,
        known_sweeps,
        "_record",
        lambda: remember_sweep(parts[1], "pull_smoke", storage),
    )
    remember_sweep(parts[0], "pull_smoke", storage)
    other.join()
    (known,) = recorded(storage)
    cells = {cell.fingerprint for part in parts for cell in part.cells}
    assert set(known.all_trials) == cells


def test_archives_of_two_commands_that_compare_them_at_once_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Archive:
        url: str

    storage = Storage(tmp_path)
    monkeypatch.setattr(taking, "_take", lambda *_: 0)

    def take(url: str) -> None:
        taking.take_finished(Archive(url), [], storage)  # type: ignore[arg-type]

    other = interrupted(monkeypatch, taking, "write_atomically", lambda: take("s3://b"))
    take("s3://a")
    other.join()
    assert set(taking._known(storage).urls) == {"s3://a", "s3://b"}


@pytest.mark.parametrize("given", ["project/runs", "disk/deep/runs"])
def test_the_file_of_a_sweep_is_known_by_every_path_of_the_storage(
    given: str, tmp_path: Path
) -> None:
    """A link often leads from the folder of a project to the storage on a larger disk."""
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "runs").symlink_to(tmp_path / "disk" / "deep" / "runs")
    file = tmp_path / "project" / "tiny.py"
    file.write_text(TINY)
    remember_sweep(load_sweep(str(file)), str(file), Storage(tmp_path / given))
    for path in ("project/runs", "disk/deep/runs"):
        (known,) = recorded(Storage(tmp_path / path))
        assert known.source == str(file.resolve())


def test_the_file_that_an_earlier_release_recorded_through_a_link_is_known(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "deep" / "runs")
    (tmp_path / "tiny.py").touch()
    storage = Storage(tmp_path / "runs")
    (storage.root / "sweeps").mkdir()
    record = KnownSweep(name="tiny", kind="sweep", source="../tiny.py")
    known_sweeps._file(storage, "tiny").write(record)
    assert [known.source for known in recorded(storage)] == [str((tmp_path / "tiny.py").resolve())]
