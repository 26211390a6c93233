"""Files that people of a group, and processes of a machine, share."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.storage import Storage, sharing
from sweeps.storage.sharing import adopt_group, locked, require_writable, share


@pytest.fixture
def private() -> Iterator[None]:
    """A user whose files are nobody else's to write."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("private")
def test_what_is_made_in_a_groups_storage_is_the_groups(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2775)
    storage = Storage(tmp_path / "group" / "new")  # is the group's as its parent is
    storage.require_writable()
    folder = storage.trial("abc")
    folder.make()
    with storage.locked(), folder.locked():
        pass
    assert mode(folder.path) & 0o775 == 0o775
    assert mode(storage.root / ".lock") == mode(folder.path / ".lock") == 0o664
    (storage.root / "mlflow.db").touch(0o644)  # SQLite's own choice
    storage.share_databases()
    assert mode(storage.root / "mlflow.db") == 0o664


@pytest.mark.usefixtures("private")
def test_what_is_private_stays_private(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    adopt_group(tmp_path / "mine")
    (tmp_path / "mine" / "file").touch()
    share(tmp_path / "mine" / "file")
    assert mode(tmp_path / "mine" / "file") == 0o644
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    adopt_group(tmp_path / "open" / "new")
    (tmp_path / "open" / "new").mkdir()
    assert mode(tmp_path / "open" / "new") == 0o755


def as_somebody_else(path: Path) -> list[str]:
    """The messages that another user gets; root may write anywhere."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    said = []
    try:
        require_writable(path, "--storage here")
    except ConfigurationError as error:
        said.append(str(error))
    try:
        with locked(path, fcntl.LOCK_EX):
            pass
    except ConfigurationError as error:
        said.append(str(error))
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_owner_of_a_file_that_is_not_writable_is_named(tmp_path: Path) -> None:
    file = Path("/tmp") / f"quantlab-test-{os.getpid()}"
    file.touch(0o600)
    try:
        with get_context("fork").Pool(1) as pool:
            refused, unlockable = pool.apply(as_somebody_else, (file,))
        file.chmod(0o644)
        with get_context("fork").Pool(1) as pool:
            (still_refused,) = pool.apply(
                as_somebody_else, (file,)
            )  # to lock it, reading is enough
    finally:
        file.unlink()
    message = f"{file} belongs to root and is not writable; ask root to run `chmod -R g+w` on it"
    assert refused == still_refused == f"--storage here: {message}"
    assert unlockable == message


def test_a_folder_in_the_place_of_a_lock_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with locked(tmp_path / ".lock", fcntl.LOCK_EX):
        pass
    assert (tmp_path / ".lock").is_file()
    assert (tmp_path / ".lock.damaged").is_dir()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(sharing.fcntl, "flock", flock)
    refused = pytest.raises(ConfigurationError, match=r"\.lock: the file system does not support")
    with refused, locked(tmp_path / ".lock", fcntl.LOCK_EX):
        pass
    refused = pytest.raises(ConfigurationError, match=r"--storage .*does not support locks")
    with refused, Storage(tmp_path).locked():
        pass


def test_a_lock_of_a_read_only_file_system_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").touch()
    opened = os.open

    def read_only(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    with locked(tmp_path / ".lock", fcntl.LOCK_SH):
        pass


def test_who_looks_at_a_trial_does_not_seem_to_train_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking shares the lock for a moment, which ends while the trial's process waits."""
    folder = Storage(tmp_path).trial("abc")
    folder.make()
    looking = sharing.lock(folder.path / ".lock", fcntl.LOCK_SH)
    monkeypatch.setattr("sweeps.storage.sharing.time.sleep", lambda seconds: looking.close())
    own = folder.locked_at_once()
    assert own is not None
    with own:
        assert folder.locked_at_once() is None
