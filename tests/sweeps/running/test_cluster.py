"""cluster.yaml, and sweeps on a Ray cluster whose nodes come and go.

Its node types are brought up by Ray's own autoscaler, as processes of this machine in place of
machines of a cloud. `ray stop` and `ray.cluster_utils.AutoscalingCluster`, which calls it, are
not used: they end every Ray on this machine, whoever started it.
"""

import copy
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml
from click.testing import CliRunner
from ray.autoscaler._private.command_runner import _with_interactive
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.util import get_node_ip_address

from sweeps.loading import load_sweep
from sweeps.storage import Storage, TrialState
from tests.conftest import SWEEPS
from tests.sweeps.sweep_files import TINY, changed

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
WRITTEN: dict[str, Any] = yaml.safe_load(TEXT)
BIN = Path(sys.executable).parent
HEAD: str = WRITTEN["head_node_type"]
WORKERS = {name: node for name, node in WRITTEN["available_node_types"].items() if name != HEAD}


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """What `ray up` makes of the file before it asks AWS for anything."""
    config: dict[str, Any] = prepare_config(copy.deepcopy(WRITTEN))
    return config


def test_machines_of_ones_own_are_installed_like_those_of_a_cloud() -> None:
    """`tests/machines` brings them up."""
    text = (ROOT / "examples" / "on_premise.yaml").read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    validate_config(prepare_config(copy.deepcopy(written)))
    assert written["provider"]["type"] == "local"
    assert re.findall(r"# CHANGE (\S+ of \S+):", text) == [f"{n} of 4" for n in (1, 2, 3, 4)]
    for key in ("file_mounts", "rsync_exclude"):
        assert written[key] == WRITTEN[key]
    _, *installation = written["setup_commands"]
    assert [command for command in WRITTEN["setup_commands"] if command in installation] == (
        installation
    )


def commands_of(config: Mapping[str, Any]) -> list[str]:
    keys = [key for key in config if key.endswith("_commands")]
    return [command for key in keys for command in config[key]]


def test_ray_accepts_the_file(prepared: dict[str, Any]) -> None:
    validate_config(prepared)
    assert prepared["max_workers"] == WRITTEN["max_workers"]
    wrong = copy.deepcopy(prepared)
    wrong["idle_timeout_minute"] = 5
    with pytest.raises(Exception, match="idle_timeout_minute"):
        validate_config(wrong)


def test_three_values_are_to_be_changed() -> None:
    assert re.findall(r"# CHANGE (\S+ of \S+):", TEXT) == ["1 of 3", "2 of 3", "3 of 3"]
    provider = WRITTEN["provider"]["region"]
    (image,) = {node["node_config"]["ImageId"] for node in WRITTEN["available_node_types"].values()}
    (file_system,) = set(re.findall(r"\bfs-\w+", " ".join(commands_of(WRITTEN))))
    in_effect = re.sub(r"#.*", "", TEXT)
    for value in (provider, image, file_system):
        assert in_effect.count(value) == 1, f"{value} would have to be changed twice"


def test_gpu_nodes_start_at_none_and_have_a_limit() -> None:
    assert HEAD in WRITTEN["available_node_types"]
    assert WORKERS
    for node in WORKERS.values():
        assert node["min_workers"] == 0
        assert node["resources"]["GPU"] >= 1
        assert node["resources"]["CPU"] >= 1
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert sum(node["max_workers"] for node in WORKERS.values()) <= WRITTEN["max_workers"]


def test_the_head_trains_nothing_and_cannot_be_taken_away() -> None:
    head = WRITTEN["available_node_types"][HEAD]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_the_files_of_an_installation_are_sent() -> None:
    mounts: dict[str, str] = WRITTEN["file_mounts"]
    sent = {local for remote, local in mounts.items() if remote == f"~/quantlab/{local}"}
    assert all((ROOT / local).exists() for local in sent)
    assert set(mounts.values()) - sent == {"~/.ray/auth_token"}
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    packages = pyproject["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sent == {
        "constraints.txt",
        "pyproject.toml",
        project["readme"],
        *project["license-files"],
        *(package.rstrip("*") for package in packages),
    }
    (install,) = [text for text in WRITTEN["setup_commands"] if "pip install" in text]
    assert '-c constraints.txt -e ".[cluster]"' in install
    assert "cluster" in project["optional-dependencies"]


def test_the_commands_are_shell(prepared: dict[str, Any]) -> None:
    commands = commands_of(prepared)
    assert len(commands) > 10
    for command in commands:
        *bash, quoted = _with_interactive(command)
        assert bash == ["bash", "--login", "-c", "-i"]
        (line,) = shlex.split(quoted)
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True)
        assert done.returncode == 0, command + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "before"),
    [("ray start --head", ""), ("ray start --address", ""), ('mlflow" server', '"$HOME/venv/bin/')],
    ids=["head", "worker", "mlflow"],
)
def test_the_programs_know_their_options(program: str, before: str) -> None:
    """Within this process, which has most of what they import."""
    from mlflow.cli import cli as mlflow_program  # these take a second each
    from ray.scripts.scripts import cli as ray_program

    (text,) = [text for text in commands_of(WRITTEN) if program in text]
    name, *arguments = shlex.split(before + text[text.index(program) :])
    main = {"ray": ray_program, "mlflow": mlflow_program}[Path(name).name]
    done = CliRunner().invoke(main, [*arguments, "--help"])
    assert done.exit_code == 0, done.output


def test_mlflows_database_has_a_driver_that_is_installed() -> None:
    """SQLAlchemy's own choice for bare postgresql: would be another one."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'cluster = ["psycopg2-binary' in pyproject
    assert re.findall(r"\bpostgresql\S*:/", TEXT) == ["postgresql+psycopg2:/"]


def test_the_environment_is_written_once(tmp_path: Path) -> None:
    (command,) = [text for text in WRITTEN["setup_commands"] if ".bashrc" in text]
    for _ in range(2):
        subprocess.run(["bash", "-c", command], env={"HOME": str(tmp_path)}, check=True)
    (line,) = (tmp_path / ".bashrc").read_text(encoding="utf-8").splitlines()
    shown = subprocess.run(
        ["bash", "-c", f"{line}; echo $RAY_AUTH_MODE $PATH"],
        env={"HOME": "/home/ubuntu", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "token /home/ubuntu/venv/bin:/usr/bin\n"


LIMITS = dict.fromkeys(WORKERS, 1)
"""In place of each node type's max_workers, since a node costs this machine some seconds."""

IDLE_SECONDS = 3
SMALL_STORE = 80 * 2**20
ADDRESS = "THE-HEADS-ADDRESS"


@dataclass(frozen=True)
class RayCluster:
    """A head node that was started for this test, and what joined it."""

    address: str
    dashboard: str
    metrics: str
    """Where Prometheus would look."""
    environment: dict[str, str]
    """For whoever talks to it; its home folder has the token."""
    session: int
    """The system's, of all nodes' processes; those of jobs are in others."""

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                is_node = os.getsid(process.pid) == self.session
                if is_node or process.environ().get("HOME") == self.environment["HOME"]:
                    found.append(process)
        return found

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in opened]


def end(cluster: RayCluster) -> None:
    """Kill whatever came of a cluster; nodes and their parts outlive what started them."""
    deadline = time.monotonic() + 30
    while processes := cluster.processes():
        assert time.monotonic() < deadline, processes
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=5)


def takes_jobs(cluster: RayCluster) -> bool:
    """Whether the dashboard lists jobs to who has the token."""
    token = (Path(cluster.environment["HOME"]) / ".ray" / "auth_token").read_text()
    asked = Request(f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    with suppress(OSError), urlopen(asked, timeout=10) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def head_node(*options: str, config: Mapping[str, Any] | None = None) -> Iterator[RayCluster]:
    """`ray start --head`, away from any other Ray on this machine.

    Args:
        options: of `ray start`.
        config: for the autoscaler; the provider gets to know the address.
    """
    home = Path(tempfile.mkdtemp(prefix="q", dir="/tmp"))  # sockets' paths must be short
    port, dashboard, client, agent, metrics = free_ports(5)
    here = get_node_ip_address()  # 127.0.0.1 is turned into this one on the way
    address = f"{here}:{port}"
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    outside = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment = {
        **outside,
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_metrics_report_interval_ms": "200",
    }
    command = ["setpriv", "--pdeathsig", "KILL"]  # should this process be killed
    command += ["ray", "start", "--head", "--block", "--disable-usage-stats", *options]
    command += [f"--temp-dir={home / 'r'}", f"--object-store-memory={SMALL_STORE}"]
    command += [f"--node-ip-address={here}", f"--port={port}", f"--ray-client-server-port={client}"]
    command += ["--include-dashboard=true", f"--dashboard-port={dashboard}"]
    command += [f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0"]
    command += [f"--metrics-export-port={metrics}"]
    command += ["--max-worker-port=0"]
    started_with = {
        **environment,
        "RAY_enable_worker_prestart": "0",  # or a node starts a process for each of its CPUs
        "RAY_prestart_worker_first_driver": "0",
        "RAY_health_check_period_ms": "1000",  # a lost node is missed in seconds
    }
    if config:
        file = home / "autoscaling.json"
        file.write_text(json.dumps(config).replace(ADDRESS, address))
        command += [f"--autoscaling-config={file}"]
        started_with |= {
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",  # as `ray up` has it
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }
    log = home / "log"
    with log.open("w") as output:
        head = subprocess.Popen(
            command, env=started_with, stdout=output, stderr=output, start_new_session=True
        )
    cluster = RayCluster(
        address, f"http://127.0.0.1:{dashboard}", f"http://{here}:{metrics}", environment, head.pid
    )
    try:
        deadline = time.monotonic() + 90
        while not takes_jobs(cluster):
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield cluster
    finally:
        end(cluster)
        shutil.rmtree(home, ignore_errors=True)


def with_fake_nodes(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the head node gets of cluster.yaml, for nodes that are processes of this machine."""
    types: dict[str, Any] = {
        name: {
            "resources": {**node["resources"], "object_store_memory": SMALL_STORE},
            "node_config": {},
            "min_workers": node["min_workers"],
            "max_workers": LIMITS[name],
        }
        for name, node in WORKERS.items()
    }
    types[FAKE_HEAD_NODE_TYPE] = {
        "resources": WRITTEN["available_node_types"][HEAD]["resources"],
        "node_config": {},
        "max_workers": 0,
    }
    return {
        **config,
        **{key: [] for key in config if key.endswith("_commands")},
        "file_mounts": {},
        "max_workers": sum(LIMITS.values()),
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "provider": {
            "type": "external",  # its own name would need a file that Ray does not ship
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "gcs_address": ADDRESS,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": types,
        "head_node_type": FAKE_HEAD_NODE_TYPE,
    }


@pytest.fixture(scope="module")
def growing(prepared: dict[str, Any]) -> Iterator[RayCluster]:
    """A head with one CPU, and an autoscaler that brings up cluster.yaml's workers."""
    with head_node("--num-cpus=1", config=with_fake_nodes(prepared)) as cluster:
        yield cluster


SCALING = '''
"""What becomes of the cluster as trials come and go; prints a line of JSON."""

import json
import sys
import time

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

ray.init(sys.argv[1], log_to_driver=False)
most = 0


def nodes():
    global most
    found = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    most = max(most, len(found))
    return found


def wait(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        nodes()
        time.sleep(0.2)


def trial(gpus):
    """What Tune reserves for one."""
    return placement_group([{"CPU": 1, "GPU": gpus}])


def placed(group):
    """The CPUs and GPUs of the node that a trial is on; None while it waits."""
    table = placement_group_table(group)
    if table["state"] != "CREATED":
        return None
    node = table["bundles_to_node_id"][0]
    return [node, nodes()[node].get("CPU"), nodes()[node].get("GPU")]


wait(lambda: len(nodes()) == 1, 60)
before = len(nodes())
halves = [trial(0.5), trial(0.5)]
wait(lambda: all(map(placed, halves)), 60)
shared = [placed(group) for group in halves]
whole = [trial(1), trial(1)]
wait(lambda: any(map(placed, whole)), 60)
wait(lambda: False, 5)
beyond = [placed(group) for group in whole]
for group in halves + whole:
    remove_placement_group(group)
wait(lambda: len(nodes()) == 1, 60)
print(json.dumps(dict(before=before, shared=shared, beyond=beyond, most=most, after=len(nodes()))))
'''


ONE_SEED = changed(TINY, "seeds=(0, 1)", "seeds=(0,)")


def assert_complete(file: Path, storage: Path) -> None:
    cells = load_sweep(str(file)).cells
    folders = [Storage(storage).trial(cell.fingerprint) for cell in cells]
    assert [folder.state() for folder in folders] == [TrialState.COMPLETE] * 3


@contextmanager
def collected(cluster: RayCluster) -> Iterator[Mapping[tuple[str, str], list[float]]]:
    """The metrics of a sweep that the cluster exports meanwhile: name and block -> values."""
    found: dict[tuple[str, str], list[float]] = {}
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.2):
            with suppress(OSError), urlopen(f"{cluster.metrics}/metrics", timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith("ray_sweeps_") and 'sweep="tiny"' in line:
                        name = line.removeprefix("ray_sweeps_").partition("{")[0]
                        block = re.search(r'block="(\w+)"', line)
                        values = found.setdefault((name, block[1] if block else ""), [])
                        values.append(float(line.rpartition(" ")[2]))

    collecting = threading.Thread(target=collect)
    collecting.start()
    try:
        yield found
    finally:
        over.set()
        collecting.join()


@pytest.mark.slow
def test_a_submitted_job_runs_a_sweep(
    growing: RayCluster, storage_with_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    """It finds its own cluster, and the file in the folder that was sent along.

    All on the head: nodes that share a machine clear away each other's copy of that folder.
    """
    file = tmp_path / "laptop" / "tiny.py"
    file.parent.mkdir()
    file.write_text(ONE_SEED)
    storage = storage_with_store(tmp_path / "runs")
    with collected(growing) as metrics:
        done = growing.run(
            *("ray", "job", "submit", "--address", growing.dashboard, "--working-dir", "."),
            *("--", "sweeps", "run", "tiny.py", "--storage", str(storage), "--concurrency", "1"),
            cwd=file.parent,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {*metrics} >= {
        ("trials", ""),
        ("epochs_total", ""),
        ("slot_seconds_total", "FP"),
        ("slot_seconds_total", "MD"),
    }
    assert max(metrics["trials", ""]) <= 3
    assert 0 < max(metrics["epochs_total", ""]) <= 2 + 2 * 3
    assert "tiny: 3 COMPLETE" in done.stdout.splitlines()
    assert [path.name for path in file.parent.iterdir()] == ["tiny.py"]
    assert_complete(file, storage)


@pytest.mark.slow
def test_nodes_come_with_trials_and_go_with_them(growing: RayCluster, tmp_path: Path) -> None:
    small, large = (
        [node["resources"]["CPU"], node["resources"]["GPU"]]
        for node in sorted(WORKERS.values(), key=lambda node: node["resources"]["CPU"])
    )
    done = growing.run(sys.executable, "-c", SCALING, growing.address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["before"] == 1
    first, second = seen["shared"]
    assert first == second, "two halves of a GPU are one GPU"
    assert first[1:] == small
    assert [trial[1:] for trial in seen["beyond"] if trial] == [large]
    assert seen["most"] == 1 + sum(LIMITS.values())
    assert seen["after"] == 1


@pytest.mark.slow
def test_a_sweep_runs_on_nodes_that_come_for_it(
    growing: RayCluster, storage_with_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Its quantizer's class is in a folder that they cannot import from.

    A trial has two CPUs, so that none runs on the head.
    """
    (tmp_path / "driver").mkdir()
    (tmp_path / "sweep").mkdir()
    file = tmp_path / "sweep" / "tiny.py"
    file.write_text(ONE_SEED)
    storage = storage_with_store(tmp_path / "runs")
    done = growing.run(
        *(SWEEPS, "run", str(file), "--address", growing.address),
        *("--storage", str(storage), "--concurrency", "1", "--execution", "threads=2"),
        cwd=tmp_path / "driver",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "tiny: 3 COMPLETE"
    assert_complete(file, storage)
