"""A small network, and optimizers of it that the tests compare."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import ProxOptimizer, Quantization
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT

STEPS = 3
"""Gradient steps per epoch of the schedules."""
CONNECTED = Quantization(
    rule=PROX_CONNECT, quantizer=PiecewiseLinear(TERNARY), sharpness=Linear(0.02)
)
UNSEEN = Quantization(rule=POST_TRAINING, quantizer=PiecewiseLinear(TERNARY))
"""Training does not see this quantization, and therefore equals that of a plain optimizer."""


class Net(nn.Module):
    """Two branches, of which the second is used for some batches only, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(6, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor, *, both: bool = True) -> Tensor:
        hidden = self.first(x) + self.second(x) if both else self.first(x)
        logits: Tensor = self.head(self.norm(hidden))
        return logits


def prox(
    model: nn.Module,
    quantization: Quantization = CONNECTED,
    algorithm: type[torch.optim.Optimizer] = torch.optim.AdamW,
    params: Any = None,
    **options: Any,
) -> ProxOptimizer:
    return ProxOptimizer(
        model.parameters() if params is None else params,
        algorithm,
        quantization,
        model=model,
        steps_per_epoch=STEPS,
        **({"lr": 0.02} | options),
    )


def batches(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 6, generator=generator) for _ in range(count)]


def loss_of(model: nn.Module, inputs: Tensor, **options: bool) -> Tensor:
    return F.cross_entropy(model(inputs, **options), inputs[:, :3].argmax(dim=1))


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Sequence[Tensor]
) -> list[float]:
    losses = []
    for batch in inputs:
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def are_equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
