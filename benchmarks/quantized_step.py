"""A quantized training step beside a plain one and beside peers, on one thread.

    python benchmarks/quantized_step.py

Every variant trains the same network on the same batch with SGD, momentum 0.9 and weight decay; all
but `plain` and `ProxConnect` do BinaryConnect's update with the set {-1, 1}:

- plain: torch.optim.SGD (its default, foreach, implementation) without quantization;
- BinaryConnect, ProxConnect: ours; the latter with L_rho^rho on the quaternary set;
- PARQ: torchao's QuantOptimizer with ProxHardQuant and a quantizer that gives {-1, 1};
- straight-through: torch.nn.utils.parametrize with a sign that passes the gradient on.

`step` is zero_grad, forward, loss, backward and optimizer; `optimizer` is the optimizer's step
alone, quantization included, at gradients as they are. The straight-through quantizer works in
forward and backward, so its optimizer alone says nothing and is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from measuring import alternated, benchmark_recipes, write
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
        return torch.where(p >= 0, 1.0, -1.0), p.new_tensor([-1.0, 1.0])


class Sign(nn.Module):
    """Straight-through: the sign in the forward pass, the identity in the backward pass."""

    def forward(self, latent: Tensor) -> Tensor:
        return latent + (torch.where(latent >= 0, 1.0, -1.0) - latent).detach()


@dataclass
class Variant:
    """A network with its optimizer."""

    model: nn.Module
    zero_grad: Callable[[], None]
    step: Callable[[], object]


def variants(recipe: Recipe) -> dict[str, Variant]:
    """All variants, from the same initial weights."""
    found = {}
    for name, quantization in (("BinaryConnect", BINARY_CONNECT), ("ProxConnect", PROXCONNECT)):
        run = TrainingRun(replace(recipe, quantization=quantization))
        found[name] = Variant(run.model, run.optimizer.zero_grad, run.optimizer.step)

    def plain_model() -> nn.Module:
        return TrainingRun(recipe).model

    model = plain_model()
    sgd = _sgd(recipe, model.parameters())
    found["plain"] = Variant(model, sgd.zero_grad, sgd.step)

    model = plain_model()
    quantized = list(quantized_weights(model).values())
    members = {id(weight) for weight in quantized}
    others = [weight for weight in model.parameters() if id(weight) not in members]
    base = _sgd(recipe, [{"params": quantized, "quant_bits": 1}, {"params": others}])
    parq = QuantOptimizer(base, PlusMinusOne(), ProxHardQuant())
    found["PARQ"] = Variant(model, base.zero_grad, parq.step)

    model = plain_model()
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Sign())
    sgd = _sgd(recipe, model.parameters())
    found["straight-through"] = Variant(model, sgd.zero_grad, sgd.step)
    return found


def _sgd(recipe: Recipe, parameters: object) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.01, **recipe.optimizer.options)  # type: ignore[arg-type]


def measure(recipe: Recipe, *, repeats: int, calls: int) -> dict[str, dict[str, float]]:
    """Milliseconds, and ratios to the plain step."""
    torch.manual_seed(0)
    dataset = recipe.dataset
    size = 8 if dataset.num_channels == 1 else 32
    inputs = torch.randn(recipe.batch_size, dataset.num_channels, size, size)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (recipe.batch_size,))
    found = variants(recipe)

    def whole(variant: Variant) -> Callable[[], None]:
        def run() -> None:
            variant.zero_grad()
            F.cross_entropy(variant.model(inputs), labels).backward()
            variant.step()

        return run

    steps = alternated(
        {name: whole(variant) for name, variant in found.items()}, repeats=repeats, calls=calls
    )
    alone = {name: found[name].step for name in found if name != "straight-through"}
    optimizers = alternated(alone, repeats=max(repeats, 30), calls=20)
    return {
        name: {
            "step_ms": 1e3 * steps[name],
            "step_over_plain": steps[name] / steps["plain"],
            **(
                {
                    "optimizer_ms": 1e3 * optimizers[name],
                    "optimizer_over_binaryconnect": optimizers[name] / optimizers["BinaryConnect"],
                }
                if name in optimizers
                else {}
            ),
        }
        for name in ("plain", "BinaryConnect", "ProxConnect", "PARQ", "straight-through")
    }


def main() -> None:
    torch.set_num_threads(1)
    figures = {}
    for name, recipe in benchmark_recipes().items():
        small = "digits" in name
        figures[name] = measure(recipe, repeats=60 if small else 24, calls=40 if small else 1)
        print(f"{name:<26}{'step':>10}{'/ plain':>10}{'optimizer':>12}{'/ BC':>8}")
        for variant, row in figures[name].items():
            line = f"  {variant:<24}{row['step_ms']:>7.2f} ms{row['step_over_plain']:>10.3f}"
            if "optimizer_ms" in row:
                ratio = row["optimizer_over_binaryconnect"]
                line += f"{row['optimizer_ms']:>9.3f} ms{ratio:>8.2f}"
            print(line)
    write("quantized_step", figures)


if __name__ == "__main__":
    main()
