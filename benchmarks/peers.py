"""Other ways to train a quantized network, and ours: each is a network with its optimizer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from quantlab import Quantization, Recipe, TrainingRun
from quantlab.models.transformers.gpt import GPT
from quantlab.models.weights import quantized_weights
from quantlab.quantization_sets import BINARY, QUATERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT

BINARY_CONNECT = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
PROXCONNECT = Quantization(
    rule=PROX_CONNECT, quantizer=PiecewiseLinear(QUATERNARY), sharpness=Constant(0.1)
)
CPU = torch.device("cpu")


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


def ours(quantization: Quantization, recipe: Recipe, device: torch.device = CPU) -> Variant:
    run = TrainingRun(replace(recipe, quantization=quantization), device=device)
    return Variant(run.model, run.optimizer.zero_grad, run.optimizer.step)


def plain(implementation: str, recipe: Recipe, device: torch.device = CPU) -> Variant:
    model = TrainingRun(recipe, device=device).model
    optimizer = _base(recipe, model.parameters(), implementation)
    return Variant(model, optimizer.zero_grad, optimizer.step)


def parq(
    implementation: str, quant_period: int, recipe: Recipe, device: torch.device = CPU
) -> Variant:
    # This library is optional; only this variant needs it.
    from torchao.prototype.parq.optim import ProxHardQuant, QuantOptimizer
    from torchao.prototype.parq.quant import Quantizer as ParqQuantizer

    class PlusMinusOne(ParqQuantizer):  # type: ignore[misc]
        """The set {-1, 1} for PARQ, whose own quantizers derive their sets from the data."""

        def get_quant_size(self, b: int) -> int:
            return 2

        def quantize(self, p: Tensor, b: int, dim: int | None = None) -> tuple[Tensor, Tensor]:
            signs = torch.ge(p, 0, out=torch.empty_like(p)).mul_(2).sub_(1)
            return signs, p.new_tensor([-1.0, 1.0])

    model, base = _parq_base(implementation, 1, recipe, device)
    optimizer = QuantOptimizer(base, PlusMinusOne(), ProxHardQuant(), quant_period=quant_period)
    return Variant(model, base.zero_grad, optimizer.step)


def parq_least_squares(
    num_levels: int,
    greedy: bool,
    annealed: bool,
    quant_period: int,
    recipe: Recipe,
    device: torch.device = CPU,
    *,
    implementation: str = "fused",
) -> Variant:
    """PARQ's optimizer with least-squares levels of every output channel.

    Args:
        num_levels: number of levels.
        greedy: whether levels are found greedily or optimally.
        annealed: whether the map is in the middle of its annealing, or the projector.
        quant_period: number of steps after which levels are recomputed.
        recipe: recipe of the network.
        device: device of the network.
        implementation: implementation of the base optimizer.
    """
    from torchao.prototype.parq.optim import ProxHardQuant, ProxPARQ, QuantOptimizer
    from torchao.prototype.parq.quant import LSBQuantizer

    bits = 0 if num_levels == 3 else num_levels.bit_length() - 1
    model, base = _parq_base(implementation, bits, recipe, device)
    # The first step is in the middle of a long annealing.
    proximal_map = ProxPARQ(-(10**6), 10**6) if annealed else ProxHardQuant()
    optimizer = QuantOptimizer(
        base,
        LSBQuantizer(optimal=not greedy),
        proximal_map,
        quant_period=quant_period,
        quant_per_channel=True,
    )
    return Variant(model, base.zero_grad, optimizer.step)


def _parq_base(
    implementation: str, bits: int, recipe: Recipe, device: torch.device
) -> tuple[nn.Module, Optimizer]:
    """Return a network, and an optimizer with the weights that PARQ quantizes as a group."""
    model = TrainingRun(recipe, device=device).model
    exclude = ("head",) if isinstance(recipe.model, GPT) else ()
    quantized = list(quantized_weights(model, exclude).values())
    members = {id(weight) for weight in quantized}
    others = [weight for weight in model.parameters() if id(weight) not in members]
    groups = [{"params": quantized, "quant_bits": bits}, {"params": others}]
    return model, _base(recipe, groups, implementation)


def straight_through(recipe: Recipe, device: torch.device = CPU) -> Variant:
    model = TrainingRun(recipe, device=device).model
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Sign())
    optimizer = _base(recipe, model.parameters(), "foreach")
    return Variant(model, optimizer.zero_grad, optimizer.step)


def _base(recipe: Recipe, parameters: Any, implementation: str) -> Optimizer:
    options = {**recipe.optimizer.options, implementation: True}
    return recipe.optimizer.algorithm(parameters, **{"lr": 0.01, **options})


VARIANTS: dict[str, Callable[..., Variant]] = {
    "plain": partial(plain, "foreach"),
    "plain, fused": partial(plain, "fused"),
    "BinaryConnect": partial(ours, BINARY_CONNECT),
    "ProxConnect": partial(ours, PROXCONNECT),
    "PARQ": partial(parq, "foreach", 10),
    "PARQ, tuned": partial(parq, "fused", 1),
    "straight-through": straight_through,
}
"""Name -> function that builds the variant for a recipe, and optionally a device."""
