"""Seconds and peak memory of the analysis for a table of 10,000 trials, and for larger reports."""

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
    "360 trials, 4 settings, 3 rho0": (4, 3, 3),
    "10,080 trials, 10 settings, 37 rho0": (10, 37, 3),
    "10,800 trials, 120 settings, 3 rho0": (120, 3, 3),
}
"""Numbers of settings (dataset, model, regime), of values of rho0 a method, and of seeds."""


def table(settings: int, num_rho0: int, seeds: int) -> pd.DataFrame:
    """Make up trials; the measurements do not depend on their accuracies."""
    rng = np.random.default_rng(0)
    rows = []
    for setting, levels, method in product(range(settings), SETS, METHODS):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.shape:  # in its own process, to measure its peak memory
        print(json.dumps(measure(options.shape, report=options.report)))
        return
    rows = []
    for shape in SHAPES:
        for what in ([], ["--report"]):
            command = [sys.executable, __file__, "--shape", shape, *what]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"shape": shape, "whole_report": bool(what), **json.loads(done.stdout)})
            print(rows[-1], flush=True)
    from measuring import write  # imports torch, which the processes above do not need

    write("analysis_scale", {"rows": rows})


if __name__ == "__main__":
    main()
