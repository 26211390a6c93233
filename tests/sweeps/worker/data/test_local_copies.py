"""Copies on a local disk: they follow their sources, and stay for those who read them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sweeps.worker.data import fetching
from sweeps.worker.data.local_copies import local_copy
from tests.forked import PROCESSES

NAMES = ("mine.npz", "pictures")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a file, and a folder in a folder."""
    root = tmp_path / "data"
    (root / "pictures" / "cats").mkdir(parents=True)
    (root / "pictures" / "cats" / "1.png").write_text("first cat")
    (root / "mine.npz").write_text("first numbers")
    return root


def nothing(folder: Path) -> None:
    """Is the check of a dataset that is always there."""


def _copy(
    data_dir: Path, scratch: Path, names: tuple[str, ...], told: Connection, end: Connection
) -> None:
    told.send(local_copy(data_dir, scratch, names, nothing))
    end.recv()


@contextmanager
def reader(data_dir: Path, names: tuple[str, ...] = NAMES) -> Iterator[Path]:
    """Another process that reads the copy that it yields."""
    (told, theirs), (end, wait) = PROCESSES.Pipe(), PROCESSES.Pipe()
    scratch = data_dir.parent / "scratch"
    process = PROCESSES.Process(target=_copy, args=(data_dir, scratch, names, theirs, wait))
    process.start()
    try:
        yield told.recv()
    finally:
        end.send("")
        process.join()


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_they_are_made_once(data: Path) -> None:
    with reader(data) as first, reader(data) as second:
        assert first == second
        assert contents(first) == contents(data)
    inode = (first / "mine.npz").stat().st_ino
    with reader(data) as third, reader(data, ("mine.npz",)) as fourth:
        assert third == fourth == first
        assert (third / "mine.npz").stat().st_ino == inode


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("name", ["mine.npz", "pictures/cats/1.png", "pictures/cats/2.png"])
def test_changed_data_is_copied_again(name: str, is_read: bool, data: Path) -> None:
    """Those who read the former data go on with it, and what has not changed is not copied."""
    before = contents(data)
    with reader(data) as first:
        if is_read:
            (data / name).write_text("other data")
            with reader(data) as second:
                assert contents(first) == before
                assert contents(second) == contents(data) != before
            other = "mine.npz" if name != "mine.npz" else "pictures/cats/1.png"
            assert (first / other).stat().st_ino == (second / other).stat().st_ino
    (data / name).write_text("yet other data")
    with reader(data) as last:
        assert contents(last) == contents(data)
    assert [path.name for path in last.parent.iterdir() if path.name.isdecimal()] == [last.name]


def test_each_data_folder_has_its_own(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "data"
    shutil.copytree(data, other)
    (other / "mine.npz").write_text("numbers of another")
    scratch = tmp_path / "scratch"
    for folder in (data, other, data):
        assert contents(local_copy(folder, scratch, NAMES, nothing)) == contents(folder)


def test_another_user_has_own_copies_of_what_those_of_the_first_lack(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, the system's own answer cannot be had."""
    scratch, refused = tmp_path / "scratch", os.W_OK
    first = local_copy(data, scratch, ("mine.npz",), nothing)
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != first.parent or not mode & refused
    )
    assert local_copy(data, scratch, ("mine.npz",), nothing) == first
    second = local_copy(data, scratch, NAMES, nothing)
    assert second.parent != first.parent
    assert contents(second) == contents(data)
    assert contents(first) == {"mine.npz": "first numbers"}
    assert local_copy(data, scratch, NAMES, nothing) == second
    refused |= os.R_OK
    assert local_copy(data, scratch, ("mine.npz",), nothing) == second


def test_an_archive_that_was_replaced_is_unpacked_again(data: Path) -> None:
    for number in range(2):
        shutil.rmtree(data / "pictures", ignore_errors=True)
        (data / "packed").mkdir(exist_ok=True)
        (data / "packed" / f"{number}.png").write_text("a dog")
        shutil.make_archive(str(data / "pictures"), "gztar", data / "packed", ".")
        with reader(data) as copy:
            assert contents(copy / "pictures") == contents(data / "packed")


def test_what_is_removed_from_the_data_folder_stays(data: Path) -> None:
    with reader(data) as first:
        pass
    (data / "mine.npz").rename(data / "away")
    with reader(data) as second:
        assert second == first
        assert (second / "mine.npz").exists()
    (data / "away").rename(data / "mine.npz")
    with reader(data) as third:
        assert third == first


def test_what_was_downloaded_is_kept_with_the_copies(data: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"

    def download(folder: Path) -> None:
        if not (folder / "net.th").exists():
            (folder / "net.th").write_text("from elsewhere")
            downloads.append(folder)

    downloads: list[Path] = []
    for _ in range(2):
        copy = local_copy(data, scratch, (*NAMES, "net.th"), download)
        assert (copy / "net.th").read_text() == "from elsewhere"
    (data / "mine.npz").write_text("other numbers")
    copy = local_copy(data, scratch, (*NAMES, "net.th"), download)
    assert (copy / "net.th").read_text() == "from elsewhere"
    assert len(downloads) == 1
    (data / "net.th").write_text("by hand")
    copy = local_copy(data, scratch, (*NAMES, "net.th"), download)
    assert (copy / "net.th").read_text() == "by hand"


def test_a_copy_that_was_cut_short_is_not_used(data: Path, tmp_path: Path) -> None:
    """A process may die between a file and its record, or while it makes the next folder."""
    scratch = tmp_path / "scratch"
    with reader(data) as first:
        pass
    (first.parent / "2.unfinished").mkdir()
    (first / "later.npz").write_text("who knows")
    (data / "later.npz").write_text("whole")
    copy = local_copy(data, scratch, (*NAMES, "later.npz"), nothing)
    assert contents(copy) == contents(data)
    assert not (first.parent / "2.unfinished").exists()


def test_a_file_in_a_folder_follows_either(data: Path, tmp_path: Path) -> None:
    scratch, inner = tmp_path / "scratch", "pictures/cats/1.png"
    for number, names in enumerate([(inner,), (*NAMES, inner), NAMES, (inner,)]):
        assert contents(local_copy(data, scratch, names, nothing)).items() <= contents(data).items()
        copy = local_copy(data, scratch, names, nothing)
        assert (copy / inner).read_text() == (data / inner).read_text()
        (data / inner).write_text(f"cat {number}" + "!" * number)


def test_of_many_files_the_outer_folders_are_compared(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MOST_LOOKED_AT", 1)
    pictures = data / "pictures"
    before = fetching.state_of(pictures)
    os.utime(pictures / "cats" / "1.png", (0, 0))
    assert fetching.state_of(pictures) == before
    os.utime(pictures / "cats", (0, 0))
    assert fetching.state_of(pictures) != before
