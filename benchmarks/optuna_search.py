"""Ray Tune's OptunaSearch compared with `sweeps search` on the same problem.

Both evaluate configurations of the surrogate of `search_against_random.py` with three seeds each,
on two slots, with Optuna's TPE and without pruning, so that the work is the same. OptunaSearch is
used as in Tune's documentation: a function trainable trains the seeds of a configuration one after
the other, and `Tuner.restore` continues after the driver was killed. Its study is in memory once,
and in SQLite once, as that of `sweeps search`. These are measured:

- undisturbed: the wall time, and the slot time per training beyond the training itself;
- with the driver killed twice: the number of trainings, how many were repeated, and how much of the
  budget was evaluated.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from measuring import write
from search_against_random import surrogate

from quantlab import Recipe, TrainingRun, fingerprint
from sweeps.storage import Storage

SLOTS = 2
SEEDS = (0, 1, 2)
HERE = Path(__file__).parent

STUDY = """
from optuna.pruners import NopPruner
from search_against_random import surrogate
from sweeps.study import StudySpec

STUDY = StudySpec(
    name="beside",
    space=surrogate,
    configurations={configurations},
    seeds={seeds},
    pruner=NopPruner(),
)
"""


def train(recipe: Recipe) -> tuple[float, float]:
    """Return the validation accuracy, and the seconds spent in epochs."""
    import torch

    torch.set_num_threads(1)
    run = TrainingRun(recipe)
    seconds = sum(record.seconds for record in run)
    return run.outcome().validation_accuracy, seconds


def ask(trial: optuna.Trial) -> None:
    """Suggest parameters for OptunaSearch; it is defined in a module to be picklable."""
    surrogate(trial)


def drive_tune(folder: Path, configurations: int, in_sqlite: bool) -> None:
    """Run the driver of a Tune experiment, new or restored."""
    import ray
    from optuna.samplers import TPESampler
    from optuna.storages import RDBStorage
    from optuna.trial import FixedTrial
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    log = folder / "trained.jsonl"

    def trainable(config: dict[str, Any]) -> None:
        values = []
        for seed in SEEDS:
            recipe = replace(surrogate(FixedTrial(dict(config))), seed=seed)
            value, seconds = train(recipe)
            values.append(value)
            line = {"trial": fingerprint(recipe), "seconds": seconds}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
        tune.report({"accuracy": sum(values) / len(values)})

    ray.init("local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    path = folder / "tune" / "beside"
    if tune.Tuner.can_restore(str(path)):
        tuner = tune.Tuner.restore(str(path), trainable)
    else:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(
                    space=ask,
                    metric="accuracy",
                    mode="max",
                    sampler=TPESampler(seed=0, multivariate=True, constant_liar=True),
                    storage=RDBStorage(f"sqlite:///{folder / 'optuna.db'}") if in_sqlite else None,
                    study_name="beside",
                ),
                num_samples=configurations,
                max_concurrent_trials=SLOTS,
            ),
            run_config=tune.RunConfig(name="beside", storage_path=str(folder / "tune"), verbose=0),
        )
    results = tuner.fit()
    values = [result.metrics.get("accuracy") for result in results if result.metrics]
    (folder / "results.json").write_text(json.dumps(values))


def command(which: str, folder: Path, configurations: int) -> list[str]:
    """Return the command of a driver; the same command continues after it was killed."""
    if which == "sweeps search":
        study = folder / "study.py"
        study.write_text(STUDY.format(configurations=configurations, seeds=SEEDS))
        sweeps = str(Path(sys.executable).with_name("sweeps"))
        storage = ["--storage", str(folder / "runs"), "--concurrency", str(SLOTS), "--quiet"]
        return [sweeps, "search", str(study), *storage]
    drive = [sys.executable, __file__, "--drive", str(folder)]
    kind = ["--in-sqlite"] if which == "OptunaSearch, SQLite" else []
    return [*drive, "--configurations", str(configurations), *kind]


def finished(which: str, folder: Path) -> list[tuple[str, float]]:
    """Return the trial and the seconds of every training that has finished."""
    if which != "sweeps search":
        log = folder / "trained.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(line["trial"], line["seconds"]) for line in map(json.loads, lines)]
    storage = Storage(folder / "runs")
    names = [path.parent.name for path in storage.root.glob("trials/*/result.json")]
    return [(name, storage.trial(name).read_history().seconds) for name in names]


def run(which: str, configurations: int, kills: int) -> dict[str, Any]:
    """Run a search; kill its driver `kills` times, after equal shares of the trainings."""
    environment = os.environ | {"PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = configurations * len(SEEDS)
        started = time.perf_counter()
        for kill in range(1, kills + 2):
            with (folder / "log").open("ab") as log:
                driver = subprocess.Popen(
                    command(which, folder, configurations),
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            if kill > kills:
                break
            while len(finished(which, folder)) < kill * total // (kills + 1):
                if driver.poll() is not None:
                    break
                time.sleep(0.1)
            if driver.poll() is not None:
                break
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
        code = driver.wait()
        wall = time.perf_counter() - started
        trained = finished(which, folder)
        training = sum(seconds for _, seconds in trained)
        often = Counter(trial for trial, _ in trained)
        found = {
            "wall_seconds": round(wall, 1),
            "trainings": len(trained),
            "made_again": len(trained) - len(often),
            "training_seconds": round(training, 1),
            "overhead_seconds_a_training": round((wall * SLOTS - training) / len(trained), 2),
        }
        if code != 0:  # Tune cannot continue
            found["ended_with"] = (folder / "log").read_text().strip().splitlines()[-1]
        database = folder / ("runs" if which == "sweeps search" else "") / "optuna.db"
        if database.exists():
            study = optuna.load_study(study_name="beside", storage=f"sqlite:///{database}")
            found["configurations"] = dict(Counter(trial.state.name for trial in study.trials))
            points = Counter(json.dumps(trial.params, sort_keys=True) for trial in study.trials)
            found["asked_twice"] = sum(points.values()) - len(points)
        if (folder / "results.json").exists():
            values = json.loads((folder / "results.json").read_text())
            found["results"] = sum(value is not None for value in values)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--in-sqlite", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive_tune(options.drive, options.configurations, options.in_sqlite)
        return
    figures: dict[str, Any] = {"configurations": options.configurations, "seeds": len(SEEDS)}
    for which in ("sweeps search", "OptunaSearch", "OptunaSearch, SQLite"):
        figures[which] = {}
        for name, kills in (("undisturbed", 0), ("killed twice", 2)):
            figures[which][name] = run(which, options.configurations, kills)
            print(which, name, json.dumps(figures[which][name]), flush=True)
    write("optuna_search", figures)


if __name__ == "__main__":
    main()
