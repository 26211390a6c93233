"""What each execution option gains, on one thread: whole training steps, data included.

    python benchmarks/execution_options.py

BinaryConnect on the set {-1, 1}. Compilation happens before the turns; how long the first steps
took stands beside the gain.
"""

import time
from collections.abc import Callable
from functools import partial

from measuring import alternated, benchmark_recipes, prepare, write

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


def build_variants(
    recipe: Recipe, count: int, first: dict[str, float]
) -> dict[str, Callable[[], object]]:
    """Every option's steps, the first of them done; how long those took goes to `first`."""
    variants = {}
    for option, execution in OPTIONS.items():
        variants[option] = steps(recipe, execution, count)
        begin = time.perf_counter()
        variants[option]()
        first.setdefault(option, time.perf_counter() - begin)
    return variants


def main() -> None:
    prepare()
    quantization = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
    figures = {}
    for name, recipe in benchmark_recipes(quantization).items():
        small = "digits" in name
        count = 20 if small else 1
        first: dict[str, float] = {}
        build = partial(build_variants, recipe, count, first)
        seconds = alternated(build, rounds=2, repeats=20 if small else 6, calls=1)
        figures[name] = {
            option: {
                "step_ms": 1e3 * value / count,
                "over_none": value / seconds["none"],
                "first_steps_seconds": first[option],
            }
            for option, value in seconds.items()
        }
        print(f"{name:<32}{'step':>10}{'/ none':>9}{'first':>10}")
        for option, row in figures[name].items():
            print(
                f"  {option:<30}{row['step_ms']:>7.2f} ms{row['over_none']:>9.3f}"
                f"{row['first_steps_seconds']:>8.1f} s"
            )
    write("execution_options", figures)


if __name__ == "__main__":
    main()
