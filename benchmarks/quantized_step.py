"""A quantized training step beside a plain one and beside peers, on one thread.

    python benchmarks/quantized_step.py

Every variant trains the same network on the same batch with SGD, momentum 0.9 and weight decay; all
but the plain ones and `ProxConnect` do BinaryConnect's update with the set {-1, 1}:

- plain: torch.optim.SGD without quantization, its foreach implementation (the one that `plain`
  stands for in ratios), and its fused one;
- BinaryConnect, ProxConnect: ours, whose base optimizer is the fused one on flat tensors; the
  latter with L_rho^rho on the quaternary set;
- PARQ: torchao's QuantOptimizer with ProxHardQuant and a quantizer that gives {-1, 1}; as it comes,
  and tuned: over the fused SGD, and asking the quantizer at every step, which is faster than its
  search among the levels;
- straight-through: torch.nn.utils.parametrize with a sign that passes the gradient on.

`step` is zero_grad, forward, loss, backward and optimizer; `optimizer` is the optimizer's step
alone, quantization included, at gradients as they are. The straight-through quantizer works in
forward and backward, so its optimizer alone says nothing and is left out.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from measuring import RandomImages, alternated, benchmark_recipes, prepare, write
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torchao.prototype.parq.optim import ProxHardQuant, QuantOptimizer
from torchao.prototype.parq.quant import Quantizer as ParqQuantizer

from quantlab import Quantization, Recipe, TrainingRun
from quantlab.quantization_sets import BINARY, QUATERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT
from quantlab.weights import quantized_weights

BINARY_CONNECT = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
PROXCONNECT = Quantization(
    rule=PROX_CONNECT, quantizer=PiecewiseLinear(QUATERNARY), sharpness=Constant(0.1)
)


class PlusMinusOne(ParqQuantizer):
    """The set {-1, 1} for PARQ, whose own quantizers derive their sets from the data."""

    def get_quant_size(self, b: int) -> int:
        return 2

    def quantize(self, p: Tensor, b: int, dim: int | None = None) -> tuple[Tensor, Tensor]:
        signs = torch.ge(p, 0, out=torch.empty_like(p)).mul_(2).sub_(1)
        return signs, p.new_tensor([-1.0, 1.0])


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, latent: Tensor) -> Tensor:
        return torch.ge(latent, 0, out=torch.empty_like(latent)).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class Sign(nn.Module):
    """Straight-through: the sign in the forward pass, the identity in the backward pass."""

    def forward(self, latent: Tensor) -> Tensor:
        signs: Tensor = _StraightThroughSign.apply(latent)  # type: ignore[no-untyped-call]
        return signs


@dataclass
class Variant:
    """A network with its optimizer."""

    model: nn.Module
    zero_grad: Callable[[], None]
    step: Callable[[], object]


def ours(quantization: Quantization, recipe: Recipe) -> Variant:
    run = TrainingRun(replace(recipe, quantization=quantization))
    return Variant(run.model, run.optimizer.zero_grad, run.optimizer.step)


def plain(implementation: str, recipe: Recipe) -> Variant:
    model = TrainingRun(recipe).model
    optimizer = _sgd(recipe, model.parameters(), implementation)
    return Variant(model, optimizer.zero_grad, optimizer.step)


def parq(implementation: str, quant_period: int, recipe: Recipe) -> Variant:
    model = TrainingRun(recipe).model
    quantized = list(quantized_weights(model).values())
    members = {id(weight) for weight in quantized}
    others = [weight for weight in model.parameters() if id(weight) not in members]
    groups = [{"params": quantized, "quant_bits": 1}, {"params": others}]
    base = _sgd(recipe, groups, implementation)
    optimizer = QuantOptimizer(base, PlusMinusOne(), ProxHardQuant(), quant_period=quant_period)
    return Variant(model, base.zero_grad, optimizer.step)


def straight_through(recipe: Recipe) -> Variant:
    model = TrainingRun(recipe).model
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Sign())
    optimizer = _sgd(recipe, model.parameters(), "foreach")
    return Variant(model, optimizer.zero_grad, optimizer.step)


def _sgd(recipe: Recipe, parameters: Any, implementation: str) -> torch.optim.SGD:
    options = {**recipe.optimizer.options, implementation: True}
    return torch.optim.SGD(parameters, lr=0.01, **options)


VARIANTS: dict[str, Callable[[Recipe], Variant]] = {
    "plain": partial(plain, "foreach"),
    "plain, fused": partial(plain, "fused"),
    "BinaryConnect": partial(ours, BINARY_CONNECT),
    "ProxConnect": partial(ours, PROXCONNECT),
    "PARQ": partial(parq, "foreach", 10),
    "PARQ, tuned": partial(parq, "fused", 1),
    "straight-through": straight_through,
}


def measure(
    recipe: Recipe, *, rounds: int, repeats: int, calls: int
) -> dict[str, dict[str, float]]:
    """Milliseconds, and ratios to the plain step."""
    torch.manual_seed(0)
    dataset = recipe.dataset
    assert isinstance(dataset, RandomImages)
    inputs = torch.randn(recipe.batch_size, dataset.num_channels, dataset.size, dataset.size)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (recipe.batch_size,))

    def train(variant: Variant) -> None:
        variant.zero_grad()
        F.cross_entropy(variant.model(inputs), labels).backward()
        variant.step()

    def whole_steps() -> dict[str, Callable[[], object]]:
        # Built in another order each time, for none to have the best place in memory always.
        names = random.sample(list(VARIANTS), len(VARIANTS))
        return {name: partial(train, VARIANTS[name](recipe)) for name in names}

    def optimizers() -> dict[str, Callable[[], object]]:
        alone = {name: VARIANTS[name](recipe) for name in VARIANTS if name != "straight-through"}
        for variant in alone.values():
            train(variant)
        return {name: variant.step for name, variant in alone.items()}

    steps = alternated(whole_steps, rounds=rounds, repeats=repeats, calls=calls)
    alone = alternated(optimizers, rounds=rounds, repeats=10, calls=20)
    return {
        name: {
            "step_ms": 1e3 * steps[name],
            "step_over_plain": steps[name] / steps["plain"],
            **({"optimizer_ms": 1e3 * alone[name]} if name in alone else {}),
        }
        for name in VARIANTS
    }


def main() -> None:
    prepare()
    random.seed(0)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, recipe in benchmark_recipes().items():
        small = "digits" in name
        rows = measure(recipe, rounds=5, repeats=8 if small else 4, calls=40 if small else 1)
        ours = rows["BinaryConnect"]
        for row in rows.values():
            if "optimizer_ms" in row:
                row["optimizer_over_ours"] = row["optimizer_ms"] / ours["optimizer_ms"]
        figures[name] = rows
        print(f"{name:<26}{'step':>10}{'/ plain':>10}{'optimizer':>12}{'/ ours':>9}")
        for variant, row in rows.items():
            line = f"  {variant:<24}{row['step_ms']:>7.2f} ms{row['step_over_plain']:>10.3f}"
            if "optimizer_ms" in row:
                line += f"{row['optimizer_ms']:>9.3f} ms{row['optimizer_over_ours']:>9.2f}"
            print(line)
    write("quantized_step", figures)


if __name__ == "__main__":
    main()
