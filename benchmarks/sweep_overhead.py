"""Overhead of orchestration: `sweeps run`, plain Ray Tune and a process pool on the same trials.

There are two measurements, both on two slots:

- trials of about a second: wall time ÷ (sum of training seconds ÷ slots), and the slot time per
  trial beyond its training. For `sweeps run`, the time is that of the whole command, with MLflow.
- thousands of trials of one gradient step: whether the last trials take longer than the first, and
  whether the driver's memory grows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from measuring import write

from quantlab import Recipe, TrainingRun
from sweeps.loading import load_sweep
from sweeps.spec import SweepSpec
from sweeps.storage import Storage

SLOTS = 2
PARTS = 10
"""The short trials are divided into parts; the last part is compared with the first."""

SWEEP = """
from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.spec import Block, SweepSpec

SWEEP = SweepSpec(
    name="overhead",
    base=Recipe(
        model=ConvNet(width=16),
        dataset=Digits({dataset}),
        optimizer=OptimizerSpec(learning_rate=Constant(0.01)),
        quantization=Quantization(
            rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(0.01)
        ),
        epochs={epochs},
        batch_size=64,
    ),
    blocks=(Block("PC"),),
    seeds=tuple(range({trials})),
)
"""


def sweep_file(folder: Path, *, trials: int, epochs: int, dataset: str = "") -> Path:
    """Write a sweep file of equal trials."""
    path = folder / "overhead.py"
    path.write_text(SWEEP.format(trials=trials, epochs=epochs, dataset=dataset))
    return path


def figures(wall: float, seconds: list[float]) -> dict[str, float]:
    """Compute the overhead from the wall time and the training seconds of each trial."""
    training = sum(seconds)
    return {
        "trials": len(seconds),
        "wall_seconds": round(wall, 1),
        "training_seconds_a_trial": round(training / len(seconds), 3),
        "wall_over_ideal": round(wall * SLOTS / training, 3),
        "overhead_seconds_a_trial": round((wall * SLOTS - training) / len(seconds), 3),
    }


def ours(folder: Path, path: Path) -> tuple[float, list[float], list[int], list[float]]:
    """Return wall time, seconds of each trial, the driver's memory, and times of results."""
    memory: list[int] = []
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("sweeps")), "run", str(path)]
    command += ["--storage", str(folder / "runs"), "--concurrency", str(SLOTS), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def watch() -> None:
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            memory.append(driver.memory_info().rss)
            time.sleep(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    wall = time.perf_counter() - started
    watcher.join()
    if code != 0:
        raise RuntimeError(f"sweeps run ended with {code}")
    sweep, storage = load_sweep(str(path)), Storage(folder / "runs")
    folders = [storage.trial(cell.fingerprint) for cell in sweep.cells]
    seconds = [folder.read_history().seconds for folder in folders]
    ends = sorted(result.time for folder in folders if (result := folder.result.read()))
    return wall, seconds, memory, ends


def train(recipe: Recipe) -> float:
    """Train a trial without orchestration, and return the seconds spent in epochs."""
    import torch

    torch.set_num_threads(1)
    run = TrainingRun(recipe)
    seconds = sum(record.seconds for record in run)
    run.outcome()
    return seconds


def plain_tune(sweep: SweepSpec) -> tuple[float, list[float]]:
    """Train with Tune's function trainables, as in the introduction of its documentation."""
    import ray
    from ray import cloudpickle, tune

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    recipes = {cell.fingerprint: cell.recipe for cell in sweep.cells}

    def trainable(config: dict[str, str]) -> None:
        tune.report({"seconds": train(recipes[config["fingerprint"]])})

    started = time.perf_counter()
    ray.init("local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            trainable,
            param_space={"fingerprint": tune.grid_search(list(recipes))},
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
    ray.shutdown()
    wall = time.perf_counter() - started
    return wall, [result.metrics["seconds"] for result in results]


def process_pool(sweep: SweepSpec) -> tuple[float, list[float]]:
    """Train in Python's process pool, with spawned processes."""
    started = time.perf_counter()
    with ProcessPoolExecutor(SLOTS, mp_context=get_context("spawn")) as pool:
        seconds = list(pool.map(train, [cell.recipe for cell in sweep.cells]))
    return time.perf_counter() - started, seconds


def trials_of_a_second(trials: int, tune_trials: int, epochs: int) -> dict[str, Any]:
    """Measure the three, one after the other."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = sweep_file(folder, trials=trials, epochs=epochs)
        wall, seconds, _, _ = ours(folder, path)
        found["sweeps run"] = figures(wall, seconds)
        print(json.dumps(found["sweeps run"]), flush=True)
        sweep = load_sweep(str(path))
        found["process pool"] = figures(*process_pool(sweep))
        print(json.dumps(found["process pool"]), flush=True)
        few = load_sweep(str(sweep_file(folder, trials=tune_trials, epochs=epochs)))
        found["plain Ray Tune"] = figures(*plain_tune(few))
        print(json.dumps(found["plain Ray Tune"]), flush=True)
    found["plain Ray Tune / sweeps run, overhead a trial"] = round(
        found["plain Ray Tune"]["overhead_seconds_a_trial"]
        / found["sweeps run"]["overhead_seconds_a_trial"],
        2,
    )
    return found


def many_short_trials(trials: int) -> dict[str, Any]:
    """Measure trials of one gradient step each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = "train_images=64, validation_images=64, test_images=64"
        path = sweep_file(folder, trials=trials, epochs=1, dataset=dataset)
        wall, _, memory, ends = ours(folder, path)
    part = trials // PARTS
    costs = [ends[start + part - 1] - ends[start] for start in range(0, trials - part + 1, part)]
    size = [value / 2**20 for value in memory]
    # After a tenth of its time, the driver has started to train.
    tenth = len(size) // 10
    return {
        "trials": trials,
        "wall_seconds": round(wall, 1),
        "trials_a_part": part,
        "seconds_of_each_part": [round(cost, 1) for cost in costs],
        "last_part_over_first": round(costs[-1] / costs[0], 3),
        "driver_mib": {
            "after a tenth": round(size[tenth]),
            "in the middle": round(size[len(size) // 2]),
            "at the end": round(size[-2]),
            "at most": round(max(size)),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--tune-trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=16, help="16 take about a second")
    parser.add_argument("--short-trials", type=int, default=5000)
    options = parser.parse_args()
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    results = {
        "slots": SLOTS,
        "trials of about a second": trials_of_a_second(
            options.trials, options.tune_trials, options.epochs
        ),
        "trials of one step": many_short_trials(options.short_trials),
    }
    print(json.dumps(results, indent=1))
    write("sweep_overhead", results)


if __name__ == "__main__":
    main()
