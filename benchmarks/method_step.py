"""Time of a training step with each method, compared to a plain one, on one thread.

    python benchmarks/method_step.py

The networks, the batches and the base optimizer are those of quantized_step.py; `plain` is SGD
without quantization. Sets are {-1, 1}, or {-1, 0, 1} where the name says "ternary".
"""

import random
from collections.abc import Callable
from functools import partial

from measuring import benchmark_recipes, prepare, write
from peers import BINARY_CONNECT, PROXCONNECT, Variant, ours, plain
from quantized_step import measure

from quantlab import Quantization, Quantizer
from quantlab.backward_maps import (
    BackwardMap,
    BiReal,
    ClippedIdentity,
    Jacobian,
    ReSTE,
    SignSwishDerivative,
    SoftmaxShortcut,
    StraightThrough,
)
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.schedules import Constant, Schedule
from quantlab.update_rules import PROX_CONNECT

BETA = Constant(5.0)


def method(
    quantizer: Quantizer,
    backward: BackwardMap = StraightThrough(),  # noqa: B008
    *,
    pull: Schedule | None = None,
    step_scale: Schedule | None = None,
) -> Quantization:
    return Quantization(
        rule=PROX_CONNECT,
        quantizer=quantizer,
        sharpness=BETA,
        backward=backward,
        pull=pull,
        step_scale=step_scale,
    )


METHODS = {
    "BinaryConnect": BINARY_CONNECT,
    "ProxConnect": PROXCONNECT,
    "pull 0.01": method(Nearest(BINARY), pull=Constant(0.01)),
    "MD-tanh-S": method(ShiftedTanh(BINARY)),
    "MD-tanh": method(ShiftedTanh(BINARY, beta=1.0), step_scale=BETA),
    "MD-tanh-S ternary": method(ShiftedTanh(TERNARY)),
    "GD-tanh": method(ShiftedTanh(BINARY), Jacobian()),
    "GD-tanh ternary": method(ShiftedTanh(TERNARY), Jacobian()),
    "MD-softmax-S": method(Softmax(BINARY)),
    "MD-softmax-S ternary": method(Softmax(TERNARY)),
    "MD-softmax": method(Softmax(BINARY, beta=1.0), step_scale=BETA),
    "PMF": method(Softmax(BINARY), Jacobian()),
    "PMF, its code": method(Softmax(BINARY), SoftmaxShortcut()),
    "BNN": method(Nearest(BINARY), ClippedIdentity()),
    "BNN+": method(Nearest(BINARY), SignSwishDerivative(5.0)),
    "BNN++": method(SignSwish(), Jacobian()),
    "Bi-Real": method(Nearest(BINARY), BiReal()),
    "ReSTE": method(Nearest(BINARY), ReSTE()),
}


def main() -> None:
    prepare()
    random.seed(0)
    variants: dict[str, Callable[..., Variant]] = {
        "plain": partial(plain, "foreach"),
        **{name: partial(ours, quantization) for name, quantization in METHODS.items()},
    }
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, recipe in benchmark_recipes().items():
        small = "digits" in name
        rows = measure(
            recipe, variants, rounds=4, repeats=5 if small else 3, calls=40 if small else 1
        )
        figures[name] = rows
        print(f"{name:<26}{'step':>10}{'/ plain':>10}{'optimizer':>12}")
        for variant, row in rows.items():
            print(
                f"  {variant:<24}{row['step_ms']:>7.2f} ms{row['step_over_plain']:>10.3f}"
                f"{row['optimizer_ms']:>9.3f} ms"
            )
    write("method_step", figures)


if __name__ == "__main__":
    main()
