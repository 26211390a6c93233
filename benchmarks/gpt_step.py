"""Time of a training step of GPTs, quantized and not, and of torchao's optimizer for them.

    python benchmarks/gpt_step.py

Every variant trains the same byte-level GPT on the same batch with AdamW, on one thread. The linear
layers of the blocks are quantized. `plain` is torch.optim.AdamW without quantization, with its
foreach implementation, and `plain, fused` with its fused one.

Variants whose name has "PARQ" have PARQ's map in the middle of its annealing, and greedy
least-squares levels of every output channel, which are placed in every tenth step. Those of torchao
are its QuantOptimizer, with the fused AdamW and with the foreach one. (Its optimal levels for three
levels raise an error on some of these weights.) `step` and `optimizer` are those of
quantized_step.py.
"""

import random
from collections.abc import Callable
from functools import partial

from measuring import gpt_recipe, prepare, write
from peers import Variant, ours, parq_least_squares, plain
from quantized_step import measure

from quantlab import Quantization
from quantlab.papers.scaled_methods import LSBQ
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales import AbsoluteMean, FanIn, LeastSquares
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT

RECIPES = {
    "GPT-2x64, 32 windows of 64 bytes": (gpt_recipe(2, 2, 64, 64, 32), 3, 4, 4),
    "GPT-4x256, 4 windows of 256 bytes": (gpt_recipe(4, 4, 256, 256, 4), 2, 3, 1),
}
"""Name -> recipe, rounds, repeats and calls of `measure`."""
LEVELS = {len(levels): levels for levels in LSBQ.sets}
PERIOD = 10


def parq_settings(num_levels: int) -> Quantization:
    return Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(LEVELS[num_levels], varrho_scale=0.0, relative=True),
        sharpness=Constant(0.5),
        scale=LeastSquares(per="channel", greedy=True, every=PERIOD),
        exclude=("head",),
    )


METHODS = {
    "BinaryConnect, ternary": Quantization(
        rule=PROX_CONNECT, quantizer=Nearest(TERNARY), scale=FanIn(), exclude=("head",)
    ),
    "ProxConnect, ternary": Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(TERNARY),
        sharpness=Constant(0.1),
        scale=FanIn(),
        exclude=("head",),
    ),
    "BitNet b1.58": Quantization(
        rule=PROX_CONNECT, quantizer=Nearest(TERNARY), scale=AbsoluteMean(), exclude=("head",)
    ),
    **{f"PARQ, {count} levels": parq_settings(count) for count in (2, 4, 8)},
}
KINDS = {f"PARQ, {count} levels": count for count in (2, 4, 8)}
"""Variants that torchao has, too, with their numbers of levels."""


def variants() -> dict[str, Callable[..., Variant]]:
    found: dict[str, Callable[..., Variant]] = {
        "plain": partial(plain, "foreach"),
        "plain, fused": partial(plain, "fused"),
        **{name: partial(ours, quantization) for name, quantization in METHODS.items()},
    }
    for name, num_levels in KINDS.items():
        for implementation in ("fused", "foreach"):
            found[f"torchao, {name}, {implementation}"] = partial(
                parq_least_squares,
                num_levels,
                True,
                True,
                PERIOD,
                implementation=implementation,
            )
    return found


def main() -> None:
    prepare()
    random.seed(0)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, (recipe, rounds, repeats, calls) in RECIPES.items():
        rows = measure(recipe, variants(), rounds=rounds, repeats=repeats, calls=calls, alone=3)
        for variant, row in rows.items():
            own = variant.removeprefix("torchao, ").rpartition(", ")[0]
            if own in KINDS and variant != own:
                row["ours_over_this"] = rows[own]["optimizer_ms"] / row["optimizer_ms"]
        figures[name] = rows
        print(f"{name:<36}{'step':>10}{'/ plain':>9}{'optimizer':>12}{'ours /':>9}")
        for variant, row in rows.items():
            line = f"  {variant:<34}{row['step_ms']:>7.2f} ms{row['step_over_plain']:>9.3f}"
            line += f"{row['optimizer_ms']:>9.3f} ms"
            if "ours_over_this" in row:
                line += f"{row['ours_over_this']:>9.3f}"
            print(line)
    write("gpt_step", figures)


if __name__ == "__main__":
    main()
