"""What a sweep needs of a file system is tried, and what is missing is told with its remedy."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.file_system import mounts
from sweeps.file_system.mounts import mount_of
from sweeps.file_system.probe import require_usable

KERNEL = Path(__file__).with_name("without_locks.py")
PROGRAM = """
import sys
from pathlib import Path
from quantlab import ConfigurationError
from sweeps.file_system.probe import require_usable
try:
    require_usable(Path(sys.argv[1]), "--storage runs")
except ConfigurationError as error:
    print(error)
"""


def test_a_local_disk_can_be_used_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    require_usable(tmp_path, "--storage runs")
    assert not list(tmp_path.iterdir())


def test_several_machines_may_try_a_folder_at_the_same_moment(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(require_usable, tmp_path, "--storage runs") for _ in range(200)]:
            done.result()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (
            "refused",
            "the file system does not support locks (TYPE: Function not implemented); REMEDY",
        ),
        ("ignored", "two processes get the same lock on the file system (TYPE); REMEDY"),
        (
            "posix",
            "the file system does not support locks (TYPE: No locks available); REMEDY; SQLite "
            "needs such locks (fcntl)",
        ),
    ],
)
def test_a_file_system_without_locks_is_refused(tmp_path: Path, how: str, error: str) -> None:
    mount = mount_of(tmp_path)
    assert mount.kind
    done = subprocess.run(
        [sys.executable, str(KERNEL), how, sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = error.replace("TYPE", str(mount)).replace("REMEDY", mount.for_locks())
    assert done.stdout == f"--storage runs: {wanted}\n", done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_does_not_replace_open_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(ConfigurationError, match=r"^here: .* cannot replace a file that is open; "):
        require_usable(tmp_path, "here")
    assert not list(tmp_path.iterdir())


TABLE = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /old rw,relatime shared:7 - nfs server:/x rw,vers=3,nolock,local_lock=all
31 22 0:41 / /new rw,relatime - nfs4 server:/y rw,vers=4.1,lookupcache=all,local_lock=none
32 22 0:42 / /lustre rw - lustre mgs@tcp:/fs rw,localflock
33 22 0:43 / /windows ro,relatime - cifs //server/z rw,vers=3.1.1,nobrl
34 22 0:44 / /with\040space rw - fuse.sshfs me@host: rw,user_id=0
35 22 0:45 / /covered rw - ext4 /dev/vdb rw
36 22 0:46 / /covered rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "shown", "locks"),
    [
        ("/home/runs", "ext4 at /", "use a folder on a file system whose locks all machines share"),
        (
            "/old/runs",
            "nfs at /old with nolock,local_lock=all,vers=3",
            "mount NFS with vers=4.1 instead of vers=3 or nolock",
        ),
        (
            "/new",
            "nfs4 at /new with local_lock=none,lookupcache=all,vers=4.1",
            "mount NFS with vers=4.1 and local_lock=none",
        ),
        ("/newer", "ext4 at /", "use a folder on a file system"),
        (
            "/lustre/a/b",
            "lustre at /lustre with localflock",
            "mount Lustre with the option flock, not with localflock or noflock",
        ),
        (
            "/windows/runs",
            "cifs at /windows with nobrl,ro,vers=3.1.1",
            "mount it without the option nobrl, or use NFS 4.1",
        ),
        ("/with space/x", "fuse.sshfs at /with space", "use a folder on a file system"),
        ("/covered", "tmpfs at /covered", "use a folder on a file system"),
    ],
)
def test_the_mount_of_a_folder_says_what_can_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, shown: str, locks: str
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE.lstrip())
    monkeypatch.setattr(mounts, "MOUNTS", table)
    mount = mount_of(Path(folder))
    assert str(mount) == shown
    assert mount.for_locks().startswith(locks)
    is_nfs = mount.kind.startswith("nfs")
    assert (mount.for_new_files() == "mount NFS with lookupcache=positive") == is_nfs


def test_a_system_that_does_not_tell_its_mounts_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert str(mount_of(tmp_path)) == "its type is unknown"
