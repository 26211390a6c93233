"""Sweeps on a cluster of two machines, one of which cannot be used as it is.

Each machine mounts the storage at /runs in its own way. The file systems are real ones: `bindfs`
passes the files of a folder on, and its locks are those of one machine only.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.machines import Machine, Machines
from tests.services import wait_until
from tests.sweeps.sweep_files import TINY

pytestmark = pytest.mark.machines

ROOT = Path(__file__).parents[3]
RAY = {
    "RAY_AUTH_MODE": "disabled",  # nobody else is on this network
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}
START = "exec ray start --block --disable-usage-stats --object-store-memory=80000000"
HEAD = "--head --node-ip-address=10.77.0.1 --port=6379 --include-dashboard=false"
SAME = "mount --bind /shared/runs /runs"
PASSED_ON = "bindfs /shared/runs /runs"
WITHOUT_LOCKS = (
    f"python {ROOT}/tests/sweeps/file_system/without_locks.py refused "
    "bindfs --enable-lock-forwarding --multithreaded /shared/runs /runs"
)
RUN = "run tiny.py --quiet --storage /runs --address 10.77.0.1:6379"
COMMANDS = """
import shlex, sys
from sweeps.cli import main
for line in sys.stdin:
    print("exit code", main(shlex.split(line)), flush=True)
"""
"""Runs one command after another, so that torch is imported once."""


class Cluster:
    """Two machines with Ray, and a process of the first one that runs `sweeps`."""

    def __init__(self, machines: Machines) -> None:
        self.one, self.two = machines.up("one", "two")
        self.log = machines.shared / "log"
        (machines.shared / "tiny.py").write_text(TINY)
        for machine in (self.one, self.two):
            as_root(machine, "mkdir /runs && chmod 777 /runs")
        self.one.run("mkdir /shared/runs")
        self.start(self.one, f"{HEAD} --num-cpus=0")
        self._commands = subprocess.Popen(
            self.one.command(f"exec python -c '{COMMANDS}'", folder="/shared", environment=RAY),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, machine: Machine, options: str) -> None:
        """Start Ray on a machine."""
        with self.log.open("a") as log:
            machine.start(f"{START} {options}", log, environment=RAY)
        wait_until("Ray has started", lambda: bool(machine.processes("raylet/raylet")))

    def join(self) -> None:
        """Let the second machine join, with one CPU."""
        self.start(self.two, "--address=10.77.0.1:6379 --num-cpus=1")

    def begin(self) -> None:
        """Begin `sweeps run` on the first machine."""
        assert self._commands.stdin is not None
        self._commands.stdin.write(f"{RUN}\n")
        self._commands.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its exit code, and what it has printed."""
        assert self._commands.stdout is not None
        printed = ""
        while not (line := self._commands.stdout.readline()).startswith("exit code "):
            assert line, f"the command has died: {printed}"
            printed += line
        return int(line.split()[2]), printed

    def refused(self) -> str:
        """Run the sweep, which must train nothing; returns the error."""
        self.begin()
        code, printed = self.end()
        assert code == 2, printed
        assert not list(self.one.path("/shared/runs").glob("trials/*")), "a trial has begun"
        (line,) = [line for line in printed.splitlines() if line.startswith("sweeps: error: ")]
        return line.removeprefix("sweeps: error: ")


def as_root(machine: Machine, command: str) -> None:
    machine.run(command, user="root")


@contextmanager
def mounted(cluster: Cluster, first: str, second: str) -> Iterator[None]:
    """Mount the storage at /runs of the first machine, and of the second one."""
    pairs = ((cluster.one, first), (cluster.two, second))
    for machine, command in pairs:
        as_root(machine, command)
    try:
        yield
    finally:
        for machine, _ in pairs:
            as_root(machine, "umount --lazy /runs")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Machines(tmp_path_factory.mktemp("machines"), programs=("bindfs",)) as machines:
        yield Cluster(machines)


def test_a_machine_that_joins_later_with_locks_of_its_own_trains_nothing(cluster: Cluster) -> None:
    """The sweep has begun without any machine that could train."""
    with mounted(cluster, SAME, PASSED_ON):
        cluster.begin()
        wait_until("it waits", lambda: bool(list(cluster.one.path("/runs").glob("ray/tiny-*"))))
        cluster.join()
        code, printed = cluster.end()
    assert code == 2, printed
    assert "/runs: machine two does not see the locks of the driver on one (fuse at /" in printed
    assert not list(cluster.one.path("/shared/runs").glob("trials/*"))


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (
            PASSED_ON,
            SAME,
            "machine two does not see the locks of the driver on one (TYPE at /runs); use a folder "
            "on a file system whose locks all machines share, such as NFS 4.1, or Lustre that is "
            "mounted with the option flock",
        ),
        (
            SAME,
            WITHOUT_LOCKS,
            "on machine two as user sweeper: the file system does not support locks (fuse at "
            "/runs: Function not implemented); use a folder on a file system whose locks all "
            "machines share, such as NFS 4.1, or Lustre that is mounted with the option flock",
        ),
        (
            SAME,
            f"{SAME} && mount -o remount,bind,ro /runs",
            "on machine two as user sweeper: is mounted read-only (TYPE at /runs with ro); mount "
            "it with rw, or use another folder",
        ),
        (
            SAME,
            "mount -t tmpfs tmpfs /runs",
            "machine two does not see the driver's folder; mount it under this path on all "
            "machines",
        ),
        (
            WITHOUT_LOCKS,
            SAME,
            "the file system does not support locks (fuse at /runs: Function not implemented); "
            "use a folder on a file system whose locks all machines share, such as NFS 4.1, or "
            "Lustre that is mounted with the option flock",
        ),
        (
            "mount -t tmpfs -o size=2m tmpfs /runs && ! head -c 4m /dev/zero > /runs/full",
            SAME,
            "is full (No space left on device); free some space, or use another folder",
        ),
    ],
    ids=["local locks", "no locks", "read-only", "another folder", "driver no locks", "full"],
)
def test_a_file_system_that_cannot_be_used_is_refused_before_anything_is_trained(
    cluster: Cluster, first: str, second: str, error: str
) -> None:
    with mounted(cluster, first, second):
        kind = cluster.one.run("stat -f -c %T /shared/runs").stdout
        said = cluster.refused()
    assert said.replace(" (ext4 ", " (TYPE "), kind


def test_another_version_or_other_code_is_refused_before_anything_is_trained(
    cluster: Cluster,
) -> None:
    torch = distribution("torch")
    metadata = next(file for file in torch.files or () if file.name == "METADATA").locate()
    code = ROOT / "quantlab" / "errors.py"
    cluster.one.run(f"sed 's/^Version: .*/Version: 2.0.1/' {metadata} > /shared/metadata")
    cluster.one.run(f"(cat {code}; echo '# changed') > /shared/errors.py")
    with mounted(cluster, SAME, SAME):
        as_root(cluster.two, f"mount --bind /shared/metadata {metadata}")
        other_version = cluster.refused()
        as_root(cluster.two, f"umount {metadata}; mount --bind /shared/errors.py {code}")
        other_code = cluster.refused()
        as_root(cluster.two, f"umount {code}")
    here = torch.version.partition("+")[0]
    assert other_version == (
        f"machine two has torch 2.0.1, but the driver on one has {here}; install the same version "
        "on all machines"
    )
    assert other_code == (
        f"machine two has other code of quantlab (in {ROOT}/sweeps) than the driver on one (in "
        f"{ROOT}/sweeps); install the same code on all machines"
    )


@pytest.mark.parametrize(
    ("user", "error"),
    [
        (
            "other",
            "--address 10.77.0.1:6379: Ray was started by sweeper on this machine, and runs "
            "nothing of other users; run the command as sweeper, or omit --address to use this "
            "machine alone",
        ),
        (
            "root",
            "--storage /shared/new: on machine one as user sweeper: cannot be written to "
            "(Permission denied)",
        ),
    ],
)
def test_the_cluster_of_another_user_is_refused(cluster: Cluster, user: str, error: str) -> None:
    """Ray itself would abort the command. It lets root in, whose files its user cannot write."""
    command = f"sweeps {RUN.replace('/runs', '/shared/new')}"
    done = cluster.one.run(command, user=user, folder="/shared", environment=RAY, check=False)
    as_root(cluster.one, "rm -r /shared/new")
    assert done.returncode == 2, done.stdout
    assert f"sweeps: error: {error}\n" in done.stdout


def test_a_sweep_on_a_disk_that_becomes_full_continues_when_there_is_room(
    cluster: Cluster,
) -> None:
    """Trials that have failed because of it are trained again."""
    as_root(cluster.one, "mount -t tmpfs -o size=8m,mode=777 tmpfs /runs")
    (cluster.one.path("/shared/long.py")).write_text(TINY.replace("epochs=2,", "epochs=20,"))
    options = "--seeds 0 --storage /runs --concurrency 1 --retries 0 --quiet"
    command = f"exec sweeps run long.py {options}"
    results = cluster.one.path("/runs/trials")
    with cluster.one.start(command, subprocess.PIPE, folder="/shared", environment=RAY) as driver:
        wait_until("a trial has finished", lambda: bool(list(results.glob("*/result.json"))))
        cluster.one.run("! head -c 8m /dev/zero > /runs/full")
        assert driver.stdout is not None
        printed = driver.stdout.read()
        assert driver.wait() in (1, 3), printed
        # A trial says so, unless the file in which Tune reads the error of a trial is cut short.
        cut_short = "(a file in /runs/ray is cut short; is the disk full?)" in printed
        assert cut_short or "No space left on device" in printed
        assert "Traceback" not in printed
        assert "Ran out of input" not in printed  # of a file of Tune that is cut short
    cluster.one.run("rm /runs/full")
    done = cluster.one.run(command, folder="/shared", environment=RAY)
    assert done.stdout.splitlines()[-1] == "tiny: 3 COMPLETE"
    as_root(cluster.one, "umount --lazy /runs")
