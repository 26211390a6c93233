"""The bounds in the proofs of "Training Quantized Nets" (appendix B-E), by simulation.

Only the appendix is at hand. It has no statements of the theorems, so that the assumptions below
are those that its proofs use. All bounds are those of the mean of F(w_t) - F(w*) over the steps,
which the proofs use before Jensen's inequality. D and G are measured: D^2 is the largest mean
square of w_t - w* over the steps, and G^2 that of the gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from quantlab import Point, Quantizer, UpdateRule
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantizers.unbounded.grid import NearestOnGrid, StochasticOnGrid
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT

COPIES = 1_000
DIMENSION = 4
MINIMUM = torch.tensor([0.3, -0.1, 1.2, -0.7], dtype=torch.float64)
NOISE = 3.0


@dataclass(frozen=True)
class Measured:
    """Means over independent copies."""

    gap: float
    """Mean of F(w_t) - F(w*) over the steps; of the latent weights, if they are the iterates."""
    last: float
    """Mean of F(w_t) - F(w*) over the last tenth of the steps."""
    diameter: float
    """D."""
    gradient: float
    """G."""


def quadratic(weights: Tensor) -> Tensor:
    return 0.5 * (weights - MINIMUM).square().sum(dim=1)


def absolute(weights: Tensor) -> Tensor:
    return (weights - MINIMUM).abs().sum(dim=1)


def simulated(
    function: Callable[[Tensor], Tensor],
    quantizer: Quantizer,
    rule: UpdateRule,
    rate: Callable[[int], float],
    steps: int,
) -> Measured:
    """Descend with noise U(-3, 3) on each gradient entry, from 0."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(COPIES, DIMENSION, dtype=torch.float64))
    optimizer = LatentOptimizer(
        {"weight": (weight, quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        rule=rule,
        sharpness=lambda step: 0.0,
    )
    gaps, distances, squares = [], [], []
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.zero_grad()
        function(weight).sum().backward()
        assert weight.grad is not None
        weight.grad += NOISE * (2 * torch.rand_like(weight) - 1)
        squares.append(weight.grad.square().sum(dim=1).mean().item())
        at = Point.LATENT if rule is PROX_CONNECT else Point.PROXIMAL
        with optimizer.weights_at(at), torch.no_grad():
            gaps.append(function(weight).mean().item())
            distances.append((weight - MINIMUM).square().sum(dim=1).mean().item())
        optimizer.step()
    tail = gaps[-(steps // 10) :]
    return Measured(
        gap=sum(gaps) / steps,
        last=sum(tail) / len(tail),
        diameter=math.sqrt(max(distances)),
        gradient=math.sqrt(max(squares)),
    )


@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("resolution", [0.5, 0.1])
def test_theorem_1_stochastic_rounding_on_a_strongly_convex_function(
    steps: int, resolution: float
) -> None:
    """(1 + log(T + 1)) G^2 / (2 mu T) + sqrt(d) Delta G / 2, with alpha_t = 1 / (mu (t + 1)).

    What remains of the bound for T to infinity is needed, and has the right order: the mean of the
    last iterates is above a third of it, and does not fall.
    """
    found = simulated(
        quadratic, StochasticOnGrid(resolution), PROX_QUANT, lambda t: 1 / (t + 1), steps
    )
    floor = math.sqrt(DIMENSION) * resolution * found.gradient / 2
    vanishing = (1 + math.log(steps + 1)) * found.gradient**2 / (2 * steps)
    assert found.gap <= vanishing + floor
    if steps == 1000 and resolution == 0.5:
        assert found.gap > vanishing
        assert floor / 3 < found.last <= floor


@pytest.mark.parametrize("c", [0.1, 1.0])
@pytest.mark.parametrize("steps", [100, 1000])
def test_theorem_2_stochastic_rounding_on_a_convex_function(steps: int, c: float) -> None:
    """D^2 / (2 c sqrt T) + c G^2 / sqrt T + sqrt(d) Delta G / 2, with alpha_t = c / sqrt t.

    The printed second term is c G^2 sqrt(T + 1) / (2 T), because the proof bounds the sum of the
    alpha_t by c sqrt(T + 1). For these alpha_t, the sum is less than 2 c sqrt T, and more than the
    printed bound from T = 3 on.
    """
    resolution = 0.5
    quantizer = StochasticOnGrid(resolution)
    found = simulated(absolute, quantizer, PROX_QUANT, lambda t: c / math.sqrt(t), steps)
    first = found.diameter**2 / (2 * c * math.sqrt(steps))
    second = c * found.gradient**2 / math.sqrt(steps)
    floor = math.sqrt(DIMENSION) * resolution * found.gradient / 2
    assert found.gap <= first + second + floor
    total = sum(c / math.sqrt(t) for t in range(1, steps + 1))
    assert c * math.sqrt(steps + 1) < total < 2 * c * math.sqrt(steps)


def test_the_printed_sum_of_step_sizes_is_too_small_from_the_third_step_on() -> None:
    sums = [sum(1 / math.sqrt(t) for t in range(1, last + 1)) for last in (1, 2, 3)]
    assert [total <= math.sqrt(last + 1) for last, total in enumerate(sums, start=1)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("resolution", [0.5, 0.1])
def test_binaryconnect_on_a_strongly_convex_function(steps: int, resolution: float) -> None:
    """(1 + log(T + 1)) G^2 / (2 mu T) + D L sqrt(d) Delta / 2 for the latent weights.

    The last term comes from a gradient that is taken at Q(w) instead of w. They differ by at most
    L |Q(w) - w| <= L sqrt(d) Delta / 2, where L is the Lipschitz constant of the gradient.
    """
    found = simulated(
        quadratic, NearestOnGrid(resolution), PROX_CONNECT, lambda t: 1 / (t + 1), steps
    )
    vanishing = (1 + math.log(steps + 1)) * found.gradient**2 / (2 * steps)
    floor = found.diameter * math.sqrt(DIMENSION) * resolution / 2
    assert found.gap <= vanishing + floor


def test_small_steps_bring_binaryconnects_latents_below_the_floor_of_stochastic_rounding() -> None:
    """With the same steps of 1 / (t + 1), noise and grid: 0.012 and 0.78."""
    ends = [
        simulated(quadratic, quantizer, rule, lambda t: 1 / (t + 1), 1000).last
        for quantizer, rule in (
            (StochasticOnGrid(0.5), PROX_QUANT),
            (NearestOnGrid(0.5), PROX_CONNECT),
        )
    ]
    assert ends[1] < ends[0] / 10
