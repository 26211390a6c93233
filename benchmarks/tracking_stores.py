"""Delivery of trials to SQLite, PostgreSQL, and MLflow's server over PostgreSQL.

    python benchmarks/tracking_stores.py

Four processes at once, or one alone, deliver finished trials as the thread of `sweeps run` does. A
record is one value of one metric in one epoch. Afterwards all records are read back and counted.
All stores are on this machine's disk. PostgreSQL waits for the disk at each commit, as SQLite does.
MLflow's server has one worker process.
"""

import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from measuring import write
from services import mlflow_server, postgresql

from quantlab import OptimizerSpec, Quantization, Recipe, canonical_json
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import Storage
from sweeps.storage.sealed_json import plain
from sweeps.tracking.run import EPOCH_METRICS
from sweeps.tracking.tracker import Tracker
from sweeps.worker.trial import run_trial

PROCESSES = 4
RUNS = 25
"""Trials of each process."""
EPOCHS = 30
ROUNDS = 3
SWEEP = SweepSpec(
    name="benchmark",
    base=Recipe(
        model=ConvNet(width=4),
        dataset=Digits(train_images=40, validation_images=20, test_images=20),
        optimizer=OptimizerSpec(learning_rate=Constant(0.05)),
        quantization=Quantization(
            rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(0.05)
        ),
        epochs=EPOCHS,
        batch_size=20,
    ),
    blocks=(Block("PC"),),
    seeds=tuple(range(PROCESSES * RUNS)),
)


@dataclass
class Together:
    """A barrier at which the processes of the pool start together."""

    barrier: Any = None


TOGETHER = Together()


def set_barrier(barrier: Any) -> None:
    TOGETHER.barrier = barrier


@dataclass(frozen=True)
class Share:
    """The measurements of one process."""

    began: float
    """Monotonic time, which is the same for all processes of a machine."""
    ended: float
    seconds_a_run: list[float]
    failures: int
    """Deliveries that raised an error and were repeated."""


def share_of(number: int) -> tuple[Cell, ...]:
    return SWEEP.cells[number * RUNS : (number + 1) * RUNS]


def deliver(number: int, experiment: str, root: Path, uri: str, together: bool) -> Share:
    tracker = Tracker(experiment, Storage(root), uri)
    if together:
        TOGETHER.barrier.wait()
    else:
        time.sleep(0.1)
    began = time.monotonic()
    seconds_a_run, failures = [], 0
    for cell in share_of(number):
        begin = time.monotonic()
        while True:
            try:
                tracker.deliver(cell)
            except Exception as error:
                failures += 1
                print(f"{experiment}, process {number}: {error}", file=sys.stderr)
            else:
                break
        seconds_a_run.append(time.monotonic() - begin)
    return Share(began, time.monotonic(), seconds_a_run, failures)


def prepare_trials(root: Path) -> Storage:
    """Train the first trial, and copy its records to the others."""
    storage = Storage(root)
    first, *others = SWEEP.cells
    trained = storage.trial(first.fingerprint)
    run_trial(first.recipe, trained, data_dir=root)
    for cell in others:
        folder = storage.trial(cell.fingerprint)
        shutil.copytree(trained.path, folder.path)
        folder.history.unlink()
        for epoch in trained.read_history():
            folder.append_history(epoch)
        result = trained.result.read()
        assert result is not None
        folder.result.write(result)
        folder.recipe.write_text(canonical_json(cell.recipe) + "\n", encoding="utf-8")
    return storage


def expected_records(cells: Sequence[Cell], storage: Storage) -> Counter[tuple[str, str, int]]:
    """Return the records (fingerprint, metric, epoch) that must be in the store once."""
    return Counter(
        (cell.fingerprint, key, record.epoch)
        for cell in cells
        for record in storage.trial(cell.fingerprint).read_history()
        for key, value in plain(record).items()
        if key in EPOCH_METRICS and value is not None
    )


def found_records(
    uri: str, experiment: str, metrics: Sequence[str]
) -> Counter[tuple[str, str, int]]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return Counter(
        (run.data.tags["fingerprint"], key, point.step)
        for run in client.search_runs([found.experiment_id])
        for key in metrics
        for point in client.get_metric_history(run.info.run_id, key)
    )


def measure(
    pool: ProcessPoolExecutor,
    experiment: str,
    trials: Storage,
    uri: str,
    database: str,
    processes: int,
) -> dict[str, float]:
    """Deliver from some processes to a store, and read the records from its database."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(trials.root, folder, dirs_exist_ok=True)
        Tracker(experiment, Storage(Path(folder)), uri).connected()
        futures = [
            pool.submit(deliver, number, experiment, Path(folder), uri, processes > 1)
            for number in range(processes)
        ]
        shares = [future.result() for future in futures]
    cells = [cell for number in range(processes) for cell in share_of(number)]
    expected = expected_records(cells, trials)
    found = found_records(database, experiment, sorted({key for _, key, _ in expected}))
    seconds = max(share.ended for share in shares) - min(share.began for share in shares)
    return {
        "records": expected.total(),
        "records_per_second": expected.total() / seconds,
        "milliseconds_per_run": 1000
        * statistics.median(value for share in shares for value in share.seconds_a_run),
        "milliseconds_of_the_slowest_run": 1000
        * max(value for share in shares for value in share.seconds_a_run),
        "failed_deliveries": sum(share.failures for share in shares),
        "lost_records": (expected - found).total(),
        "doubled_records": (found - expected).total(),
    }


def summary(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """Summarize the turns: medians of the speeds, and sums of the counts."""
    return {
        key: statistics.median(turn[key] for turn in turns)
        if key.startswith(("records_per", "milliseconds"))
        else sum(turn[key] for turn in turns)
        for key in turns[0]
    }


def main() -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    turns: dict[str, dict[str, list[dict[str, float]]]] = {}
    with (
        postgresql(durable=True) as server,
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(PROCESSES, context, set_barrier, (barrier,)) as pool,
    ):
        root = Path(folder)
        trials = prepare_trials(root / "trials")
        backend = server.create("server")
        with mlflow_server(backend, root) as tracking_server:
            sqlite, direct = f"sqlite:///{root / 'mlflow.db'}", server.create("direct")
            stores = {
                "SQLite": (sqlite, sqlite),
                "PostgreSQL": (direct, direct),
                "MLflow server over PostgreSQL": (tracking_server.uri, backend),
            }
            for turn in range(ROUNDS):
                for name, (uri, database) in stores.items():
                    for processes in (1, PROCESSES):
                        measured = measure(
                            pool, f"{processes}-{turn}", trials, uri, database, processes
                        )
                        of_store = turns.setdefault(name, {})
                        of_store.setdefault(f"processes={processes}", []).append(measured)
        connection = server.connect()
        postgresql_version = connection.info.parameter_status("server_version")
        connection.close()
    figures = {
        store: {processes: summary(values) for processes, values in by_processes.items()}
        for store, by_processes in turns.items()
    }
    print(f"{'':<32}{'':<14}{'records/s':>10}{'ms/run':>8}{'slowest':>9}{'failed':>8}{'lost':>6}")
    for store, rows in figures.items():
        for label, values in rows.items():
            print(
                f"{store:<32}{label:<14}{values['records_per_second']:>10,.0f}"
                f"{values['milliseconds_per_run']:>8.0f}"
                f"{values['milliseconds_of_the_slowest_run']:>9.0f}"
                f"{values['failed_deliveries']:>8}{values['lost_records']:>6}"
            )
    about = {
        "mlflow": version("mlflow"),
        "sqlalchemy": version("sqlalchemy"),
        "postgresql": postgresql_version,
        "processes": PROCESSES,
        "runs_per_process": RUNS,
        "epochs": EPOCHS,
        "rounds": ROUNDS,
    }
    write("tracking_stores", {**about, "stores": figures})
    wrong = [
        values["lost_records"] + values["doubled_records"]
        for rows in figures.values()
        for values in rows.values()
    ]
    if any(wrong):
        raise SystemExit(f"records were lost or doubled: {json.dumps(figures, indent=1)}")


if __name__ == "__main__":
    main()
