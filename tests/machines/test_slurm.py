"""Jobs of a real SLURM cluster are ended in every way in which clusters end jobs.

Each trial is trained once, and its results are bit-identical to those of an undisturbed sweep.
``make chaos`` runs the long form: 24 trials, two preemptions, a time limit and the loss of a node
that SLURM notices by itself, a job that is cancelled, and one that is submitted again.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.loading import load_sweep
from sweeps.spec import SweepSpec
from sweeps.storage import Storage
from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.worker.trial import run_trial
from tests.chaos.test_chaos import check_runs, hashes
from tests.machines import Machines
from tests.machines.slurm import Slurm

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1500)]

LONG = "QUANTLAB_CHAOS" in os.environ
SEEDS = 8 if LONG else 2
EPOCHS = 60 if LONG else 30
FILE = '''
"""Trials that fine-tune a network of the sweep, and trials that are slow until a file exists."""

import os
import time
from dataclasses import dataclass, replace

import torch

from quantlab import OptimizerSpec, Quantization, Quantizer, Recipe, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.initial_weights import TrialWeights
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.spec import Block, SweepSpec


@dataclass(frozen=True)
class SlowTanh(Quantizer):
    """In trials of a cluster only, it is slow until a file exists."""

    levels: tuple[float, ...] = (-1.0, 1.0)

    def prox(self, latent, sharpness):
        if "RAY_JOB_ID" in os.environ and not os.path.exists("/shared/go_on"):
            time.sleep(0.3)
        return torch.tanh((1 + sharpness) * latent)


FULL = Recipe(
    model=ConvNet(width=4),
    dataset=Digits(train_images=400, validation_images=100),
    optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.003)),
    epochs=EPOCHS,
    batch_size=40,
)
TUNED = replace(FULL, initial_weights=TrialWeights(fingerprint(FULL)))


def method(label, base, rule, quantizer):
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=Linear(0.01))
    return Block(label, base=replace(base, quantization=quantization, batchnorm_epochs=1))


SWEEP = SweepSpec(
    name="jobs",
    blocks=(
        Block("FP", base=FULL),
        method("MD", FULL, PROX_CONNECT, SlowTanh()),
        method("SR", TUNED, PROX_QUANT, StochasticRounding()),
    ),
    seeds=tuple(range(SEEDS)),
)
'''


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm")
    with Machines(folder, programs=("slurmctld", "munged")) as machines:
        yield Slurm(machines)


@pytest.fixture
def sweep(slurm: Slurm) -> SweepSpec:
    text = FILE.replace("=EPOCHS", f"={EPOCHS}").replace("SEEDS", str(SEEDS))
    (slurm.shared / "jobs.py").write_text(text)
    return load_sweep(str(slurm.shared / "jobs.py"))


def submit(slurm: Slurm, *options: str) -> str:
    """Submit the sweep, and return the number of its job."""
    command = f"sweeps slurm jobs.py {' '.join(options)} --submit"
    said = slurm.login.run(command, folder="/shared").stdout
    number = said.partition("submitted as job ")[2].partition(";")[0]
    assert number.isdigit(), said
    return number


def test_what_slurm_refuses_is_told_in_a_line_and_a_job_without_time_ends_at_once(
    slurm: Slurm, sweep: SweepSpec
) -> None:
    wrong = "sweeps slurm jobs.py --partition nowhere --output wrong.sbatch --submit"
    done = slurm.login.run(wrong, folder="/shared", check=False)
    assert done.returncode == 2
    _, error, last = done.stdout.split("\n")
    assert error.startswith("sweeps: error: --submit: SLURM refuses the job (invalid partition")
    assert last == ""
    assert not (slurm.shared / "wrong.sbatch").exists()

    slurm.login.run("sweeps slurm jobs.py --array 2 --output short.sbatch", folder="/shared")
    job = slurm.login.run(
        "sbatch --parsable --time=3 short.sbatch", folder="/shared"
    ).stdout.strip()
    for task in (f"{job}_1", f"{job}_2"):  # one of which has the number of the array
        slurm.wait_for(task, "FAILED")
        assert "the time limit of this job leaves no time to train" in slurm.said(task)


def restart(
    slurm: Slurm,
    job: str,
    event: Callable[[], object],
    says: str,
    repair: Callable[[], object] = lambda: None,
) -> None:
    """Let an event end a job, which then starts again."""
    before = slurm.field(job, "Restarts")
    event()
    slurm.wait(job, f"requeued: {says}", lambda: slurm.field(job, "Restarts") != before)
    assert says in slurm.said(job)
    repair()
    slurm.start_again(job)


def preempt(slurm: Slurm) -> None:
    """Submit a short job with a higher priority, which needs all of both nodes."""
    slurm.login.run("sbatch -p urgent -N 2 --exclusive -o /dev/null --wrap 'sleep 1'")


class Watched:
    """The storage of the sweep while jobs run."""

    def __init__(self, slurm: Slurm, sweep: SweepSpec) -> None:
        self.storage = Storage(slurm.shared / "runs")
        self.results: dict[Path, bytes] = {}
        self._slurm = slurm
        self._slow = [self.storage.trial(c.fingerprint) for c in sweep.cells if c.block == "MD"]

    def epochs(self) -> int:
        """How many epochs of the slow trials have ended; the results so far are remembered."""
        for path in self.storage.root.glob("trials/*/result.json"):
            self.results.setdefault(path, path.read_bytes())  # it has the time of the training
        return sum(len(folder.read_history()) for folder in self._slow)

    def wait_for_more(self, job: str) -> None:
        """Wait until slow trials have been trained further than now."""
        before = self.epochs()
        self._slurm.wait(job, "trials are trained", lambda: self.epochs() > before)


def test_trials_survive_all_ends_of_a_job(slurm: Slurm, sweep: SweepSpec, tmp_path: Path) -> None:
    calm = Storage(tmp_path / "calm")
    for cell in sweep.cells:
        run_trial(cell.recipe, calm.trial(cell.fingerprint), data_dir=tmp_path)

    watched = Watched(slurm, sweep)
    options = "--nodes 2 --cpus-per-node 1 --time 20 --stop-before 60 --sbatch export=NONE"
    job = submit(slurm, options)

    watched.wait_for_more(job)
    other = slurm.nodes[1].path("/tmp")
    slurm.wait(job, "node2 joins", lambda: any(other.glob(f"sweep-{job}/session_2*")))
    status = slurm.login.run("sweeps status jobs.py", folder="/shared", check=False).stdout
    assert "of sweeper on node1, process" in status
    assert f", SLURM job {job}\n" in status

    # SLURM looks twice a minute whether the limit is near.
    near = "told to stop (the time limit is near)"
    restart(slurm, job, lambda: slurm.end_in(job, 80), near, lambda: slurm.end_in(job, 1200))
    assert "back into the queue" in slurm.said(job)
    watched.wait_for_more(job)

    if LONG:
        for _ in range(2):
            restart(slurm, job, lambda: preempt(slurm), "DUE TO PREEMPTION")
            watched.wait_for_more(job)
            # The next one has a time of grace, of which SLURM tells steps only, not the script.
            slurm.login.run("scontrol update PartitionName=main GraceTime=20", user="root")

    lost = slurm.nodes[1]
    cut = lost.power_cut if LONG else lambda: slurm.power_cut(lost)  # SLURM notices in a minute
    restart(slurm, job, cut, "Node failure on node2", lambda: slurm.power_on(lost))
    if LONG:
        watched.wait_for_more(job)

    slurm.login.run(f"scancel {job}")
    slurm.wait(job, "the nodes are free", lambda: slurm.idle_nodes() == 2)
    slurm.wait_for(job, "CANCELLED")
    # All trials had time to save their state.
    assert slurm.said(job).count("running trials save their state") == (5 if LONG else 2)
    (slurm.shared / "go_on").touch()

    # Two jobs of one node, on the same node, share what is left.
    array = submit(slurm, "--array 2 --cpus-per-node 1 --output array.sbatch")
    tasks = [f"{array}_{number}" for number in (1, 2)]
    for task in tasks:
        slurm.wait_for(task, "RUNNING")
    # One of them has the number of the array; SLURM tells it that its time limit is near.
    (named,) = (task for task in tasks if slurm.field(task, "JobId") == array)
    folders = [node.path("/tmp") / f"sweep-{array}" for node in slurm.nodes]
    slurm.wait(named, "it starts Ray", lambda: any(folder.exists() for folder in folders))
    slurm.login.run(f"scancel --signal=USR1 --batch {named}")
    slurm.wait(named, "it is requeued", lambda: slurm.field(named, "Restarts") == "1")
    restarts = [slurm.field(task, "Restarts") for task in tasks]
    assert sorted(restarts) == ["0", "1"], "the whole array is requeued"
    if not LONG:  # SLURM preempts the other one while it starts
        preempt(slurm)
        for task in tasks:
            slurm.wait(
                task, "it is requeued", lambda task=task: slurm.field(task, "Restarts") == "1"
            )
    for task in tasks:
        slurm.start_again(task)
    slurm.wait(array, "both have ended", lambda: not slurm.waiting())
    for task in tasks:
        assert slurm.state(task) == "COMPLETED", slurm.said(task)

    assert hashes(sweep, watched.storage) == hashes(sweep, calm)
    for path, content in watched.results.items():
        assert path.read_bytes() == content, "it was trained again"
    check_runs(sweep, watched.storage, sqlite_uri(watched.storage.root / "mlflow.db"))
    for node in slurm.nodes:
        assert "ray" not in node.run("ps -u sweeper -o args=", user="root", check=False).stdout
        assert not list(node.path("/tmp").glob("sweep-*"))
    assert not list(slurm.shared.glob(".token*"))
