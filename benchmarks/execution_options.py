"""What each execution option gains, on one thread: whole training steps, data included.

    python benchmarks/execution_options.py

BinaryConnect on the set {-1, 1}. Compilation happens in the turns that are not counted; its seconds
stand beside the gain.
"""

import time
from collections.abc import Callable

import torch
from measuring import alternated, benchmark_recipes, write

from quantlab import Execution, Quantization, Recipe, TrainingRun
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.nearest import Nearest
from quantlab.update_rules import PROX_CONNECT

CONTIGUOUS = Execution(channels_last=False)
OPTIONS = {
    "none": CONTIGUOUS,
    "channels_last (default)": Execution(),
    "bf16": Execution(channels_last=False, bf16=True),
    "bf16, channels_last": Execution(bf16=True),
    "compile": Execution(channels_last=False, compile=True),
    "compile, channels_last": Execution(compile=True),
    "compile, channels_last, bf16": Execution(compile=True, bf16=True),
}


def steps(recipe: Recipe, execution: Execution, count: int) -> Callable[[], object]:
    """A call trains so many steps."""
    run = TrainingRun(recipe, execution=execution).train(pause_steps=count)
    return lambda: next(run)


def main() -> None:
    torch.set_num_threads(1)
    quantization = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
    figures = {}
    for name, recipe in benchmark_recipes(quantization).items():
        small = "digits" in name
        count = 8 if small else 1
        variants, first = {}, {}
        for option, execution in OPTIONS.items():
            variants[option] = steps(recipe, execution, count)
            begin = time.perf_counter()
            variants[option]()
            first[option] = time.perf_counter() - begin
        seconds = alternated(variants, repeats=60 if small else 15, calls=1)
        figures[name] = {
            option: {
                "step_ms": 1e3 * value / count,
                "over_none": value / seconds["none"],
                "first_step_seconds": first[option],
            }
            for option, value in seconds.items()
        }
        print(f"{name:<32}{'step':>10}{'/ none':>9}{'first':>10}")
        for option, row in figures[name].items():
            print(
                f"  {option:<30}{row['step_ms']:>7.2f} ms{row['over_none']:>9.3f}"
                f"{row['first_step_seconds']:>8.1f} s"
            )
    write("execution_options", figures)


if __name__ == "__main__":
    main()
