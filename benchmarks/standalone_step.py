"""Time of the optimizer's step in a loop of one's own: plain, with ProxOptimizer, with torchao.

    python benchmarks/standalone_step.py

The networks are those of the scripts in examples/, with the optimizers of these scripts, on one
thread and for given gradients. All matrices but the embeddings of the GPT are quantized, to three
least-squares levels per output channel, and all of the image network, to two. The map is in the
middle of its annealing. Levels are recomputed in every step, or in every tenth, which is torchao's
default. `foreach` is torch's default implementation of the optimizers, `fused` a single kernel.
"""

import random
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import alternated, prepare, write
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from quantlab import ProxOptimizer, Quantization, Quantizer
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers import PiecewiseLinear
from quantlab.scales import LeastSquares
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT

KINDS = ("plain", "quantlab 1", "quantlab 10", "torchao 1", "torchao 10")
"""Optimizers, with the number of steps after which levels are recomputed."""
EXAMPLES = Path(__file__).parent.parent / "examples"


def gpt() -> nn.Module:
    build = runpy.run_path(str(EXAMPLES / "gpt_training.py"))["GPT"]
    network: nn.Module = build(layers=4, heads=4, width=128, context=128)
    return network


def images() -> nn.Module:
    network: nn.Module = runpy.run_path(str(EXAMPLES / "image_training.py"))["network"](16)
    return network


def quantized(model: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers, without a head that shares an embedding."""
    embedded = {id(of.weight) for of in model.modules() if isinstance(of, nn.Embedding)}
    weights = [of.weight for of in model.modules() if isinstance(of, nn.Linear | nn.Conv2d)]
    return [weight for weight in weights if id(weight) not in embedded]


def optimizer_of(
    kind: str, model: nn.Module, algorithm: type[Optimizer], num_levels: int, options: Any
) -> Callable[[], object]:
    """Return the step of an optimizer.

    Args:
        kind: one of `KINDS`.
        model: network.
        algorithm: base optimizer.
        num_levels: 2 or 3.
        options: options of the base optimizer.
    """
    own = quantized(model)
    members = {id(weight) for weight in own}
    others = [one for one in model.parameters() if id(one) not in members]
    if kind == "plain":
        return algorithm([{"params": own}, {"params": others}], **options).step
    side, every = kind.split()
    if side == "quantlab":
        levels = BINARY if num_levels == 2 else TERNARY
        annealed: Quantizer = PiecewiseLinear(levels, varrho_scale=0.0, relative=True)
        quantization = Quantization(
            rule=PROX_CONNECT,
            quantizer=annealed,
            sharpness=Constant(0.5),
            scale=LeastSquares(per="channel", every=int(every)),
        )
        groups = [{"params": own, "quantized": True}, {"params": others}]
        return ProxOptimizer(groups, algorithm, quantization, steps_per_epoch=1, **options).step
    # This library is optional; only this kind needs it.
    from torchao.prototype.parq.optim import ProxPARQ, QuantOptimizer
    from torchao.prototype.parq.quant import LSBQuantizer

    bits = 0 if num_levels == 3 else 1
    base = algorithm([{"params": own, "quant_bits": bits}, {"params": others}], **options)
    annealing = ProxPARQ(-(10**6), 10**6)
    step: Callable[[], object] = QuantOptimizer(
        base, LSBQuantizer(), annealing, quant_period=int(every), quant_per_channel=True
    ).step
    return step


def steps_of(
    build: Callable[[], nn.Module],
    algorithm: type[Optimizer],
    num_levels: int,
    options: dict[str, Any],
) -> dict[str, Callable[[], object]]:
    """Return the steps of all optimizers, which are built in another order each time."""
    found = {}
    for kind in random.sample(KINDS, len(KINDS)):
        torch.manual_seed(0)
        model = build()
        step = optimizer_of(kind, model, algorithm, num_levels, options)
        for parameter in model.parameters():
            parameter.grad = 1e-3 * torch.randn_like(parameter)
        step()
        found[kind] = step
    return found


def main() -> None:
    prepare()
    random.seed(0)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, build, algorithm, num_levels, further in (
        ("GPT, AdamW", gpt, AdamW, 3, {}),
        ("image network, SGD", images, SGD, 2, {"momentum": 0.9}),
    ):
        figures[name] = {}
        for implementation in ("foreach", "fused"):
            options = {"lr": 1e-3, implementation: True, **further}
            times = alternated(
                partial(steps_of, build, algorithm, num_levels, options), repeats=8, calls=20
            )
            figures[name][implementation] = {kind: 1e3 * of for kind, of in times.items()}
            line = ", ".join(f"{kind} {1e3 * of:.2f} ms" for kind, of in sorted(times.items()))
            print(f"{name}, {implementation}: {line}")
    write("standalone_step", figures)


if __name__ == "__main__":
    main()
