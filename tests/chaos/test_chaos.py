"""A sweep on a cluster whose processes are killed at random has the results of an undisturbed one.

Two commands train it at once, and each takes over what the other has left. The results are
bit-identical if trials are trained one by one. Packs are formed anew after each failure, so that
sums are added in another order: there, networks are in float64, and results nearly equal.

The short form runs with the other tests. ``make chaos`` runs the long one: 64 trials, 12 workers
and 4 drivers killed, 3 nodes lost, and the tracking server, over PostgreSQL, and the archive of
finished trials stopped twice for 20 s.
"""

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import psutil
import pytest
import torch
from ray.cluster_utils import Cluster

from sweeps.archive.archive import Archive
from sweeps.archive.taking import take_finished
from sweeps.connecting import unused_processes
from sweeps.loading import load_sweep
from sweeps.spec import SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.worker.trial import run_trial
from tests import forked
from tests.forked import ForkedCommand
from tests.services import (
    MlflowServer,
    S3Server,
    mlflow_server,
    needs_postgresql,
    postgresql,
    s3_server,
)
from tests.sweeps.trial_hash import trial_hash

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LONG = "QUANTLAB_CHAOS" in os.environ
if LONG:
    pytestmark.append(needs_postgresql)
DEADLINE_SECONDS = 1200


@dataclass(frozen=True)
class Plan:
    """How many failures a sweep of 4 trials a seed has."""

    seeds: int
    epochs: int
    workers: int
    drivers: int
    nodes: int
    outages: int
    outage_seconds: float
    most_pause_seconds: float


PLAN = (
    Plan(
        16, 160, workers=12, drivers=4, nodes=3, outages=2, outage_seconds=20, most_pause_seconds=9
    )
    if LONG
    else Plan(
        1, 8, workers=1, drivers=1, nodes=1, outages=1, outage_seconds=3, most_pause_seconds=1
    )
)

SWEEP = '''
"""Fine-tuning from a network that the sweep trains first, learned levels, and an own quantizer."""

import os
import time
from dataclasses import dataclass, replace

import torch

from quantlab import OptimizerSpec, Quantization, Quantizer, Recipe, fingerprint
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.initial_weights import TrialWeights
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.scales.learned_step import LearnedStep
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.spec import Block, SweepSpec


GATE = "THE-GATE"


@dataclass(frozen=True)
class Double(ModelSpec):
    """A network in float64."""

    def build(self, **sizes):
        return ConvNet(width=4).build(**sizes).double()


@dataclass(frozen=True, kw_only=True)
class DoubleDigits(Digits):
    """Images in float64."""

    def normalize(self, pixels):
        return super().normalize(pixels).double()


@dataclass(frozen=True)
class Tanh(Quantizer):
    """Waits for a file, so that the sweep does not end before all failures have happened.

    It waits in trials only, as drivers evaluate the map before they start.
    """

    levels: tuple[float, ...] = (-1.0, 1.0)

    def prox(self, latent, sharpness):
        while "RAY_JOB_ID" in os.environ and not os.path.exists(GATE):
            time.sleep(0.05)
        return torch.tanh((1 + sharpness) * latent)


FULL = Recipe(
    model=Double(),
    dataset=DoubleDigits(
        train_images=400, validation_images=100, augmentation=CropFlip(padding=1, flip=False)
    ),
    optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.003)),
    epochs=EPOCHS,
    batch_size=40,
)
TUNED = replace(FULL, initial_weights=TrialWeights(fingerprint(FULL)))


def method(label, base, rule, quantizer, scale=None):
    quantization = Quantization(
        rule=rule, quantizer=quantizer, sharpness=Linear(0.01), scale=scale
    )
    return Block(label, base=replace(base, quantization=quantization, batchnorm_epochs=2))


SWEEP = SweepSpec(
    name="chaos",
    blocks=(
        Block("FP", base=FULL),
        method("PC", TUNED, PROX_CONNECT, PiecewiseLinear(), LearnedStep(per="channel")),
        method("SR", TUNED, PROX_QUANT, StochasticRounding()),
        method("MD", FULL, PROX_CONNECT, Tanh()),
    ),
    seeds=tuple(range(SEEDS)),
)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep file."""
    path = tmp_path_factory.mktemp("chaos")
    text = SWEEP.replace("=EPOCHS", f"={PLAN.epochs}").replace("SEEDS", str(PLAN.seeds))
    (path / "chaos.py").write_text(text.replace("THE-GATE", str(path / "gate")))
    return path


class Driver:
    """A process of `sweeps run` that can be killed and started again."""

    def __init__(self, folder: Path, storage: Storage, *options: str, log: str = "log") -> None:
        where = ["--storage", str(storage.root), "--retries", "100"]
        self._arguments = ("run", "chaos.py", *where, *options)
        self._folder = folder
        self.log = storage.root.with_suffix(f".{log}")
        self.start()

    def start(self) -> None:
        self.process = ForkedCommand(self._folder, *self._arguments, log=self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> str:
        """Wait until the sweep ends with exit code 0, and return the log."""
        code = self.process.wait(DEADLINE_SECONDS)
        log = self.log.read_text(encoding="utf-8")
        assert code == 0, log
        return log


@contextmanager
def cluster_of_nodes(count: int) -> Iterator[Cluster]:
    """Start a head node without CPUs and nodes of one CPU, as processes of this machine."""
    settings = {
        "enable_worker_prestart": False,  # or a node starts a process for each of its CPUs
        "prestart_worker_first_driver": False,
        "health_check_period_ms": 1000,  # a lost node is missed in seconds
    }
    options = {"num_cpus": 0, "include_dashboard": False, "_system_config": settings}
    with unused_processes.not_started():
        cluster = Cluster(initialize_head=True, head_node_args=options)
        try:
            for _ in range(count):
                cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()


@dataclass
class Monkey:
    """Causes the failures that happen on clusters."""

    cluster: Cluster
    drivers: Sequence[Driver]
    server: MlflowServer
    archive: S3Server
    storage: Storage
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    back_at: float | None = None
    """When the tracking server and the archive are to be started again."""
    results: dict[Path, bytes] = field(default_factory=dict)
    """Each result as it was when it was first seen; it has the time of the training."""

    def run(self, events: Sequence[str]) -> None:
        """Cause each failure at a random moment while trials are trained."""
        for event in events:
            self.wait(self.chance.uniform(0.2, PLAN.most_pause_seconds))
            getattr(self, event)()
            self.done[event] += 1
        while self.back_at is not None:
            self.wait(0.2)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end or not self.trials():
            for driver in self.drivers:
                assert driver.process.poll() is None, "the sweep ended too early to be disturbed"
            for path in self.storage.root.glob("trials/*/result.json"):
                if path not in self.results:
                    self.results[path] = path.read_bytes()
            if self.back_at is not None and now >= self.back_at:
                self.server.start()
                self.archive.start()
                self.back_at = None
            time.sleep(0.1)

    def trials(self) -> list[psutil.Process]:
        """Return the cluster's processes that train trials."""
        found = []
        for node in self.cluster.worker_nodes:
            with suppress(psutil.NoSuchProcess):
                raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
                found += [child for child in raylet.children() if is_trial(child)]
        return found

    def worker(self) -> None:
        """Kill a process that trains a trial, not one that waits for another driver's trial.

        Then wait until another process has the trial.
        """
        locks: set[str] = set()
        while not locks:
            self.wait(0.1)
            with suppress(psutil.NoSuchProcess, IndexError):  # it has just ended
                killed = self.chance.choice([each for each in self.trials() if locks_of(each)])
                held = locks_of(killed)
                killed.kill()
                killed.wait()
                locks = held
        while not any(self.is_held_or_over(lock) for lock in locks):
            self.wait(0.1)

    def is_held_or_over(self, lock: str) -> bool:
        """Return whether a process has the lock of a trial, or the trial has finished."""
        is_held = any(lock in locks_of(process) for process in self.trials())
        return is_held or Path(lock).with_name("result.json").exists()

    def driver_(self) -> None:
        """Kill one `sweeps run`, start it again, and wait until it is connected.

        It connects to the tracking server first. Until then, an outage ends it with an error, as it
        should.
        """
        while self.back_at is not None:
            self.wait(0.2)
        driver = self.chance.choice(self.drivers)
        driver.kill()
        driver.start()
        while not self.is_connected(driver):
            self.wait(0.1)

    def is_connected(self, driver: Driver) -> bool:
        """Return whether a driver is connected to the cluster."""
        port = int(self.cluster.address.rpartition(":")[2])
        connections = psutil.Process(driver.process.pid).net_connections("tcp")
        return any(one.raddr and one.raddr.port == port for one in connections)

    def node(self) -> None:
        """Remove a node, and add another one."""
        node = self.chance.choice(sorted(self.cluster.worker_nodes, key=str))
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.add_node(num_cpus=1)

    def outage(self) -> None:
        """Stop the tracking server and the archive for a while."""
        while self.back_at is not None:
            self.wait(0.2)
        self.server.stop()
        self.archive.stop()
        self.back_at = time.monotonic() + PLAN.outage_seconds


def is_trial(process: psutil.Process) -> bool:
    """Return whether a process trains a trial, by the title that Ray gives to workers."""
    return " ".join(process.cmdline()).startswith(("ray::_Inner", "ray::Worker"))


def locks_of(process: psutil.Process) -> set[str]:
    """Return the locks of trials that a process has, each for as long as it trains the trial."""
    with suppress(psutil.NoSuchProcess):
        return {file.path for file in process.open_files() if file.path.endswith("/.lock")}
    return set()


def hashes(sweep: SweepSpec, storage: Storage) -> dict[str, str]:
    """Return a hash of all files of each trial."""
    return {cell.name: trial_hash(storage.trial(cell.fingerprint)) for cell in sweep.cells}


def assert_nearly_the_same(sweep: SweepSpec, found: Storage, expected: Storage) -> None:
    """Compare learning curves, final weights and accuracies."""
    for cell in sweep.cells:
        own, other = found.trial(cell.fingerprint), expected.trial(cell.fingerprint)
        for key in ("train_loss", "validation_accuracy_hard"):
            curves = [[getattr(epoch, key) for epoch in of.read_history()] for of in (own, other)]
            assert curves[0] == pytest.approx(curves[1], rel=1e-6), cell.name
        results = [of.result.read() for of in (own, other)]
        assert results[0]
        assert results[1]
        assert results[0].test_accuracy == results[1].test_accuracy, cell.name
        torch.testing.assert_close(
            torch.load(own.weights), torch.load(other.weights), rtol=1e-6, atol=1e-6
        )


@pytest.fixture(scope="module")
def calm(folder: Path, empty_store: Path) -> Storage:
    """The storage of the sweep without failures."""
    forked.begin()
    (folder / "gate").touch()
    storage = Storage(folder / "calm")
    storage.root.mkdir()
    if LONG:  # several trials at a time
        shutil.copy(empty_store, storage.root / "mlflow.db")
        Driver(folder, storage).finish()
        return storage
    for cell in load_sweep(str(folder / "chaos.py")).cells:
        run_trial(cell.recipe, storage.trial(cell.fingerprint), data_dir=folder)
    return storage


@pytest.fixture
def store(empty_database: Callable[[Path], str], tmp_path: Path) -> Iterator[str]:
    """The database of the tracking server."""
    if not LONG:
        yield empty_database(tmp_path / "mlflow.db")
        return
    with postgresql() as database:
        yield database.create("chaos")


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param("1", id="one by one"),
        pytest.param(
            "4", id="in packs", marks=pytest.mark.skipif(not LONG, reason="runs with `make chaos`")
        ),
    ],
)
def test_a_sweep_survives_failures_of_a_cluster(
    pack: str, folder: Path, calm: Storage, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = load_sweep(str(folder / "chaos.py"))
    assert len(set(hashes(sweep, calm).values())) == len(sweep.cells)

    gate = folder / "gate"
    gate.unlink()
    storage = Storage(folder / f"runs-{pack}")
    events = ["worker"] * PLAN.workers + ["driver_"] * PLAN.drivers
    events += ["node"] * PLAN.nodes + ["outage"] * PLAN.outages
    chance = random.Random(20)
    chance.shuffle(events)
    with s3_server() as s3, ExitStack() as services, ThreadPoolExecutor(1) as pool:
        starting = pool.submit(services.enter_context, mlflow_server(store, folder))
        cluster = services.enter_context(cluster_of_nodes(2))
        server = starting.result()
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        archive = Archive(f"s3://{s3.bucket}/chaos-{pack}")
        options = ["--address", cluster.address, "--tracking-uri", server.uri, "--pack", pack]
        options += ["--archive", archive.url]
        drivers = [Driver(folder, storage, *options, log=log) for log in ("first", "second")]
        monkey = Monkey(cluster, drivers, server, s3, storage, chance)
        while not all(map(monkey.is_connected, drivers)):
            monkey.wait(0.1)
        monkey.run(events)
        gate.touch()
        logs = [driver.finish() for driver in drivers]
        assert monkey.done == Counter(events)
        assert all(re.search(r"^spent: .*; \d+ retr(y|ies)$", log, re.M) for log in logs)
        check_runs(sweep, storage, server.uri)
        taken = Storage(folder / f"taken-{pack}")
        assert take_finished(archive, sweep.cells, taken) == len(sweep.cells)
        assert hashes(sweep, taken) == hashes(sweep, storage)
    for path, content in monkey.results.items():
        assert path.read_bytes() == content, "it was trained again"
    if pack == "1":
        assert hashes(sweep, storage) == hashes(sweep, calm)
    else:
        assert_nearly_the_same(sweep, storage, calm)


def check_runs(sweep: SweepSpec, storage: Storage, uri: str) -> None:
    """Require one finished run a trial, with each epoch once."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found = {run.data.tags["fingerprint"]: run for run in runs}
    assert len(runs) == len(found) == len(sweep.cells)
    for cell in sweep.cells:
        folder, run = storage.trial(cell.fingerprint), found[cell.fingerprint]
        assert folder.state() is TrialState.COMPLETE
        assert run.info.status == "FINISHED"
        history = folder.read_history()
        total = cell.recipe.epochs + cell.recipe.batchnorm_epochs
        assert [record.epoch for record in history] == list(range(1, total + 1))
        for key in ("train_loss", "validation_accuracy_hard"):
            curve = client.get_metric_history(run.info.run_id, key)
            assert [(point.step, point.value) for point in curve] == [
                (record.epoch, getattr(record, key)) for record in history
            ]
