"""Ray clusters on machines with SSH, as docs/cluster.md has them, and what fails there.

``make chaos`` also starts a cluster by hand, and kills its control process.

The machines are a head, two workers, and the user's own computer, which is none of the cluster.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli.exit_codes import EXIT_CUT_SHORT
from sweeps.loading import load_sweep
from sweeps.spec import SweepSpec
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.worker.trial import run_trial
from tests import services
from tests.chaos.test_chaos import check_runs
from tests.machines import Machine, Machines
from tests.machines.machines import ROOT, USERS
from tests.machines.own_environment import provide
from tests.markdown import blocks
from tests.sweeps.sweep_files import TINY, changed
from tests.sweeps.trial_hash import trial_hash

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1200)]

PAGE = ROOT / "docs" / "cluster.md"
INSTALLED = ("LICENSE", "README.md", "analysis", "constraints.txt", "pyproject.toml", "quantlab")
EPOCHS = 24

SWEEP = changed(
    changed(
        changed(
            TINY,
            "        return torch.tanh(",
            "        # On a cluster, trials take their time until a test has done what it does.\n"
            "        if 'RAY_JOB_ID' in os.environ and not os.path.exists('/shared/gate'):\n"
            "            time.sleep(0.2 if sharpness < 5 else 3)\n"
            "        return torch.tanh(",
        ),
        "epochs=2,",
        f"epochs={EPOCHS},",
    ),
    "(0.5, 1.0)),),\n        ),\n    ),\n    seeds=(0, 1)",
    "(0.5,)),),\n        ),\n    ),\n    seeds=(0, 1, 2)",
).replace("import torch\n", "import os\nimport time\n\nimport torch\n", 1)
"""Six trials; three of them have a map of the user's own, and last until the gate opens."""


def shown(section: str) -> list[str]:
    """The commands of a section of the page, as they are written there."""
    return [
        command.text
        for block in blocks(PAGE)
        if re.findall(r"^#+ (.*)$", block.before, re.MULTILINE)[-1:] == [section]
        for command in block.commands
    ]


@dataclass
class Typed:
    """The commands of a section that have been run, so that none is left out."""

    section: str
    done: set[str] = field(default_factory=set)

    def command(self, start: str, **replaced: str) -> str:
        """The command that starts so, with words replaced."""
        (found,) = [text for text in shown(self.section) if text.startswith(start)]
        self.done.add(found)
        for word, other in replaced.items():
            assert word in found
            found = found.replace(word, other)
        return found

    def require_all(self) -> None:
        settings = {text for text in shown(self.section) if text.startswith("export ")}
        assert self.done | settings == set(shown(self.section))


OF_OWN = Typed("Machines of your own")
BY_HAND = Typed("A Ray cluster")

wait_until = partial(services.wait_until, seconds=300, pause=0.5)
"""For three machines on two cores, which looking at their processes would also keep busy."""

QUICK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
    "AUTOSCALER_HEARTBEAT_TIMEOUT_S": "10",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""A failure is noticed after seconds instead of a minute."""


AS_OTHER: dict[str, Any] = {"user": "other", "environment": {"RAY_AUTH_MODE": "token", **QUICK}}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with Machines(tmp_path_factory.mktemp("on_premise"), has_ssh=True) as machines:
        laptop, *others = machines.up("laptop", "head", "one", "two")
        for machine in others:
            provide(machine)
        sources = " ".join(str(ROOT / name) for name in (*INSTALLED, "sweeps", "examples"))
        laptop.run(f"mkdir project sweep && cp -r {sources} project")
        laptop.path("/home/sweeper/sweep/my_sweep.py").write_text(SWEEP)
        laptop.run(OF_OWN.command("ray get-auth-token"))
        yield machines


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    file = tmp_path_factory.mktemp("sweep") / "my_sweep.py"
    file.write_text(SWEEP)
    return load_sweep(str(file))


@pytest.fixture(scope="module")
def undisturbed(sweep: SweepSpec, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage with the results of this computer alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    storage = Storage(folder / "runs")
    for cell in sweep.cells:
        run_trial(cell.recipe, storage.trial(cell.fingerprint), data_dir=folder / "data")
    return storage


def configured(machines: Machines) -> str:
    """The file for `ray up` with the four values changed, and with short times.

    Each machine trains one trial at a time, as all three share the cores of this computer.
    """
    text = (ROOT / "examples" / "on_premise.yaml").read_text(encoding="utf-8")
    addresses = {name: machines[name].address for name in ("head", "one", "two")}
    for before, after in (
        ("head_ip: 192.0.2.1", f"head_ip: {addresses['head']}"),
        (
            "worker_ips: [192.0.2.2, 192.0.2.3]",
            f"worker_ips: [{addresses['one']}, {addresses['two']}]",
        ),
        ("ssh_user: ubuntu", "ssh_user: sweeper"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    exports = " ".join(f"{name}={value}" for name, value in QUICK.items())
    return text.replace("ray start --", f"export {exports}; ray start --num-cpus=1 --")


def trains(machine: Machine) -> bool:
    """Whether a process of the machine holds the lock of a trial."""
    for process in machine.processes():
        with suppress(OSError):  # it has just ended
            files = [os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
            if any(file.endswith("/.lock") for file in files):
                return True
    return False


def has_raylet(machine: Machine) -> bool:
    return bool(machine.processes("^\\S*/raylet/raylet "))


@dataclass
class Job:
    """A job of the laptop's user, and what it has printed."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def id(self) -> str:
        found = re.search(r"'(raysubmit_\w+)'", self.output)
        assert found is not None, self.output
        return found[1]


def submit(machines: Machines, log: Path) -> Job:
    """Type the command of the page on the laptop."""
    variables = {"RAY_AUTH_MODE": "token", "PYTHONUNBUFFERED": "1"}
    command = OF_OWN.command("ray job submit")
    with log.open("w") as file:
        process = machines["laptop"].start(
            command, file, folder="/home/sweeper/sweep", environment=variables
        )
    return Job(process, log)


def active(machines: Machines) -> int:
    """How many machines `ray status` lists as active."""
    command = OF_OWN.command("ray exec")
    said = machines["laptop"].run(command, folder="/home/sweeper/project", check=False).stdout
    found = re.search(r"Active:\s+(\d+) local.cluster.node", said)
    return int(found[1]) if found else 0


def slow_trials(sweep: SweepSpec, storage: Storage) -> list[TrialFolder]:
    return [storage.trial(cell.fingerprint) for cell in sweep.cells if cell.block == "MD"]


def assert_equal(sweep: SweepSpec, storage: Storage, undisturbed: Storage) -> None:
    """All trials have finished, with the same results to the last bit, and are in MLflow once."""
    for cell in sweep.cells:
        folder = storage.trial(cell.fingerprint)
        assert folder.state() is TrialState.COMPLETE
        assert trial_hash(folder) == trial_hash(undisturbed.trial(cell.fingerprint)), cell.name
    check_runs(sweep, storage, sqlite_uri(storage.root / "mlflow.db"))


def storage_of(user: str, folder: Path) -> Storage:
    """The storage in a folder, which belongs to a user of the machines."""
    number = USERS[user]
    for path in (folder, *folder.iterdir()):
        os.chown(path, number, number)
    return Storage(folder)


def bring_up(machines: Machines) -> None:
    """Start Ray on the head, which starts it on the others."""
    command = f"{OF_OWN.command('ray up')} --yes"
    machines["laptop"].run(command, folder="/home/sweeper/project", timeout_seconds=200)


@contextmanager
def dashboard(machines: Machines, log: Path) -> Iterator[None]:
    """Forward the dashboard to the laptop."""
    laptop = machines["laptop"]
    with log.open("w") as output:
        forwards = laptop.start(
            OF_OWN.command("ray dashboard"), output, folder="/home/sweeper/project"
        )
    reach = "timeout 1 bash -c '< /dev/tcp/127.0.0.1/8265'"
    wait_until("it forwards", lambda: laptop.run(reach, check=False).returncode == 0)
    try:
        yield
    finally:
        laptop.run("pkill -KILL -f 'ray dashboard'; pkill -KILL -x ssh", check=False)
        forwards.wait(10)


@contextmanager
def started_by_hand(machines: Machines) -> Iterator[None]:
    """A cluster of the user `other` on two machines."""
    head, one = machines["head"], machines["one"]
    try:
        head.run(BY_HAND.command("ray start --head"), **AS_OTHER)
        one.run(BY_HAND.command("ray start --address", HEAD=head.address), **AS_OTHER)
        yield
    finally:
        for machine in (head, one):
            machine.run("ray stop --force", **AS_OTHER)


@pytest.mark.skipif("QUANTLAB_CHAOS" not in os.environ, reason="runs with `make chaos`")
def test_a_cluster_that_was_started_by_hand(
    machines: Machines,
    sweep: SweepSpec,
    undisturbed: Storage,
    storage_with_store: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    """It admits nobody without its token; and its control process is killed within a sweep."""
    head, one = machines["head"], machines["one"]
    storage = storage_of("other", storage_with_store(machines.shared / "by_hand"))
    head.path("/home/other/my_sweep.py").write_text(SWEEP)
    head.run(BY_HAND.command("ray get-auth-token"), user="other")
    head.run("ssh one mkdir -m 700 .ray && scp -q ~/.ray/auth_token one:.ray", user="other")
    command = BY_HAND.command("sweeps run", **{"/shared/runs": "/shared/by_hand"})
    with started_by_hand(machines):
        without = command.replace("auto", f"{head.address}:6379")
        refused = head.run(without, user="other", check=False)
        assert refused.returncode == 2
        assert "set RAY_AUTH_MODE=token if the cluster requires a token" in refused.stdout
        with (tmp_path / "first").open("w") as output:
            first = head.start(command, output, **AS_OTHER)
            wait_until("both machines train", lambda: trains(head) and trains(one))
            head.run("pkill -KILL gcs_server", **AS_OTHER)
            assert first.wait(200) == EXIT_CUT_SHORT
    (machines.shared / "gate").touch()
    with started_by_hand(machines):
        head.run(command, **AS_OTHER)
    (machines.shared / "gate").unlink()
    BY_HAND.require_all()
    assert_equal(sweep, storage, undisturbed)


def test_a_sweep_survives_what_happens_to_machines(
    machines: Machines,
    sweep: SweepSpec,
    undisturbed: Storage,
    storage_with_store: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    """A power cut, a killed raylet, and a job that is stopped."""
    laptop, *cluster = (machines[name] for name in ("laptop", "head", "one", "two"))
    _, one, two = cluster
    storage = storage_of("sweeper", storage_with_store(machines.shared / "runs"))
    laptop.path("/home/sweeper/project/examples/on_premise.yaml").write_text(configured(machines))
    bring_up(machines)
    wait_until("Ray starts on all machines", lambda: all(map(has_raylet, cluster)))

    with dashboard(machines, tmp_path / "dashboard"):
        job = submit(machines, tmp_path / "first.log")
        wait_until("all machines join", lambda: active(machines) == 3)  # while the job starts
        wait_until("all machines train", lambda: all(map(trains, cluster)))
        slow = slow_trials(sweep, storage)
        wait_until("trials have checkpoints", lambda: all(t.checkpoint.exists() for t in slow))
        one.power_cut()
        two.run("pkill -KILL raylet")
        wait_until("no raylet is left on two", lambda: not has_raylet(two))
        one.power_on()
        wait_until("trials are continued", lambda: job.output.count("continues after epoch") >= 2)
        wait_until("all machines train again", lambda: all(map(trains, cluster)))
        stop = OF_OWN.command("ray job stop", ID=job.id)
        said = laptop.run(stop, environment={"RAY_AUTH_MODE": "token"}).stdout
        assert "was stopped" in said
        job.process.wait(60)
        assert "sweeps: stopped; to continue, run: " in job.output
        assert not any(map(trains, cluster))
        states = {storage.trial(cell.fingerprint).state() for cell in sweep.cells}
        assert states <= {TrialState.INTERRUPTED, TrialState.COMPLETE}

    (machines.shared / "gate").touch()
    with dashboard(machines, tmp_path / "dashboard"):
        job = submit(machines, tmp_path / "last.log")
        assert job.process.wait(150) == 0, job.output
    laptop.run(f"{OF_OWN.command('ray down')} --yes", folder="/home/sweeper/project")
    wait_until("no Ray is left", lambda: not any(map(has_raylet, cluster)))
    OF_OWN.require_all()

    assert_equal(sweep, storage, undisturbed)
