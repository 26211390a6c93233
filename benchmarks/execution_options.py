"""Gain of each execution option on one thread, for whole training steps with data.

    python benchmarks/execution_options.py

The method is BinaryConnect on the set {-1, 1}. Every measurement has its own process, as some
options apply to a whole process; the processes alternate. The duration of the first step, which
includes compilation, is reported beside the gain.
"""

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict

import torch
from measuring import benchmark_recipes, write

from quantlab import Quantization, TrainingRun
from quantlab.execution import parse_execution
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.nearest import Nearest
from quantlab.update_rules import PROX_CONNECT

ROUNDS = 2
NOTHING = "no-channels_last,no-keep_memory"
OPTIONS = {
    "none": NOTHING,
    "keep_memory": "no-channels_last",
    "channels_last": "no-keep_memory",
    "keep_memory, channels_last (default)": "",
    "default, bf16": "bf16",
    "default, compile": "compile",
    "default, compile, bf16": "compile,bf16",
}


def measure(name: str, option: str) -> None:
    """Print, as JSON, the seconds of the first step and the median of some more."""
    torch.set_num_threads(1)
    quantization = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
    recipe = benchmark_recipes(quantization)[name]
    small = "digits" in name
    run = TrainingRun(recipe, execution=parse_execution(OPTIONS[option]))
    steps = run.train(pause_steps=1)
    seconds = []
    for _ in range(400 if small else 14):
        begin = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"first": seconds[0], "step": statistics.median(seconds[4:])}))


def main() -> None:
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in benchmark_recipes():
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(ROUNDS):
            for option in OPTIONS:
                done = subprocess.run(
                    [sys.executable, __file__, name, option],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                found[option].append(json.loads(done.stdout.splitlines()[-1]))
        step = {
            option: statistics.median(row["step"] for row in rows) for option, rows in found.items()
        }
        figures[name] = {
            option: {
                "step_ms": 1e3 * step[option],
                "over_none": step[option] / step["none"],
                "first_step_seconds": rows[0]["first"],
            }
            for option, rows in found.items()
        }
        print(f"{name:<40}{'step':>10}{'/ none':>9}{'first':>10}")
        for option, row in figures[name].items():
            print(
                f"  {option:<38}{row['step_ms']:>7.2f} ms{row['over_none']:>9.3f}"
                f"{row['first_step_seconds']:>8.1f} s"
            )
    torch.set_num_threads(1)  # as in the measurements, for the description of the machine
    write("execution_options", figures)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
    else:
        main()
