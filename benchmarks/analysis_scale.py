"""Seconds and peak memory of the analysis for a table of 10,000 trials, and for larger reports.

The last row is the whole command `sweeps report` on 20 tables of 1,000 trials, with its start.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.findings import analyse
from analysis.report import write_report
from analysis.schema import Measurements

METHODS = ("BC", "PQ", "rPC", "PC")
SETS = ("binary", "ternary", "quaternary")
SHAPES = {
    "360 trials, 4 settings, 3 rho0": (4, 3, 3, 4),
    "10,080 trials, 10 settings, 37 rho0": (10, 37, 3, 4),
    "10,836 trials, 4 settings, 6 methods, 60 rho0": (4, 60, 3, 6),
    "10,656 trials, 4 settings, 60 methods, 5 rho0": (4, 5, 3, 60),
    "10,800 trials, 120 settings, 3 rho0": (120, 3, 3, 4),
}
"""Numbers of settings (dataset, model, regime), of rho0 of a method, of seeds and of methods."""
JOINED = "20 tables of 1,000 trials, joined"
_TABLES, _OF_TABLE, _SHARED = 20, 1000, 50
"""Number of tables, of their trials, and of those that the table before has, too."""


def table(settings: int, num_rho0: int, seeds: int, num_methods: int = 4) -> pd.DataFrame:
    """Make up trials; the measurements do not depend on their accuracies."""
    rng = np.random.default_rng(0)
    rows = []
    methods = [*METHODS, *(f"M{number}" for number in range(num_methods - len(METHODS)))]
    for setting, levels, method in product(range(settings), SETS, methods):
        for rho0 in [np.nan] if method == "BC" else np.geomspace(1e-4, 1e-1, num_rho0):
            for seed in range(seeds):
                accuracy = 0.9 + 0.01 * rng.standard_normal()
                rows.append(
                    {
                        "sweep": "made",
                        "trial_id": f"t{len(rows)}",
                        "configuration_id": f"{setting}-{levels}-{method}-{rho0}",
                        "name": f"{method} {levels} rho0={rho0:g} seed={seed}",
                        "dataset": "Made",
                        "model": f"Net{setting // 2}",
                        "regime": ("end-to-end", "fine-tuning")[setting % 2],
                        "method": method,
                        "set": levels,
                        "rho0": rho0,
                        "seed": seed,
                        "state": "COMPLETE",
                        "validation_accuracy": accuracy - 0.001,
                        "test_accuracy": accuracy,
                        "epochs": 300,
                        "seconds": 1.0,
                        "git_commit": "",
                        "recipe.quantization.sharpness.rho0": rho0,
                    }
                )
    return pd.DataFrame(rows)


def measure(shape: str, *, report: bool) -> dict[str, float]:
    measurements = Measurements(table(*SHAPES[shape]))
    started = time.perf_counter()
    if report:
        with tempfile.TemporaryDirectory() as folder:
            write_report(measurements, Path(folder), title=shape, facts={}, paper="proxconnect")
    else:
        analyse(measurements, paper="proxconnect")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"trials": len(measurements.trials), "seconds": seconds, "peak_gib": peak}


def measure_joined() -> dict[str, float]:
    """Measure the whole command, in a process of its own."""
    whole = table(20, 36, 3)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_TABLES):
            first = number * (_OF_TABLE - _SHARED)
            part = whole.iloc[first : first + _OF_TABLE]
            part.to_csv(Path(folder) / f"sweep{number}.csv", index=False)
        command = [sys.executable, "-m", "sweeps", "report"]
        command += [f"sweep{number}.csv" for number in range(_TABLES)]
        started = time.perf_counter()
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"trials": _TABLES * _OF_TABLE, "seconds": seconds, "peak_gib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES, JOINED])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.shape:  # in its own process, to measure its peak memory
        is_joined = options.shape == JOINED
        found = measure_joined() if is_joined else measure(options.shape, report=options.report)
        print(json.dumps(found))
        return
    rows = []
    for shape in (*SHAPES, JOINED):
        for what in [["--report"]] if shape == JOINED else [[], ["--report"]]:
            command = [sys.executable, __file__, "--shape", shape, *what]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"shape": shape, "whole_report": bool(what), **json.loads(done.stdout)})
            print(rows[-1], flush=True)
    from measuring import write  # imports torch, which the processes above do not need

    write("analysis_scale", {"rows": rows})


if __name__ == "__main__":
    main()
