"""The weights whose projection is the final network."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    Point,
    Quantizer,
    TrainingRun,
    UpdateRule,
    override,
)
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.mixture import RandomChoice
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.update_rules import (
    POST_TRAINING,
    PROX_CONNECT,
    PROX_QUANT,
    REVERSE_PROX_CONNECT,
)
from tests.quantlab.recipes import quantized


@dataclass(frozen=True)
class Shrinking(Quantizer):
    """A proximal map that takes weights past the middle of a gap: soft thresholding."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return latent.sign() * (latent.abs() - sharpness).clamp(min=0)


def trained(rule: UpdateRule, quantizer: Quantizer, **options: Any) -> LatentOptimizer:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(200))
    optimizer = LatentOptimizer(
        {"w": (weight, quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.3),
        rule=rule,
        sharpness=lambda step: 0.1 + 0.01 * step,
        **options,
    )
    for _ in range(5):
        optimizer.zero_grad()
        (weight - torch.linspace(-1, 1, 200)).square().sum().backward()
        optimizer.step()
    return optimizer


def at(optimizer: LatentOptimizer, point: Point) -> Tensor:
    with optimizer.weights_at(point):
        return optimizer.groups[0].parameters[0].detach().clone()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    "quantizer",
    [
        StochasticRounding(),
        Shrinking(),
        RandomChoice(members=(Shrinking(), StochasticRounding())),
    ],
    ids=["SR", "shrink", "choice"],
)
@pytest.mark.parametrize("rule", [PROX_QUANT, REVERSE_PROX_CONNECT], ids=["PQ", "rPC"])
def test_rules_that_start_from_w_end_with_it(
    rule: UpdateRule, quantizer: Quantizer, flat: bool
) -> None:
    optimizer = trained(rule, quantizer, flat=flat)
    proximal, hard = at(optimizer, Point.PROXIMAL), at(optimizer, Point.HARD)
    assert hard.equal(quantizer.hard(proximal))
    assert not hard.equal(quantizer.hard(at(optimizer, Point.LATENT)))  # one network more
    gap = (proximal - hard).square().mean().sqrt()
    assert optimizer.quantization_gap() == pytest.approx(float(gap))
    optimizer.harden()
    assert optimizer.groups[0].parameters[0].equal(hard)


def test_the_last_draw_is_the_network() -> None:
    optimizer = trained(PROX_QUANT, StochasticRounding())
    assert optimizer.quantization_gap() == 0
    assert at(optimizer, Point.HARD).equal(at(optimizer, Point.PROXIMAL))


@pytest.mark.parametrize("rule", [PROX_CONNECT, POST_TRAINING], ids=["PC", "PTQ"])
@pytest.mark.parametrize("quantizer", [StochasticRounding(), Shrinking()], ids=["SR", "shrink"])
def test_rules_that_start_from_latent_weights_end_with_those(
    rule: UpdateRule, quantizer: Quantizer
) -> None:
    optimizer = trained(rule, quantizer)
    assert at(optimizer, Point.HARD).equal(quantizer.hard(at(optimizer, Point.LATENT)))


def test_an_average_is_projected_whatever_the_rule() -> None:
    optimizer = trained(PROX_QUANT, StochasticRounding(), averaging=lambda step: 1.0)
    expected = StochasticRounding().hard(at(optimizer, Point.AVERAGED))
    assert at(optimizer, Point.HARD).equal(expected)


def test_a_run_reports_the_last_draw() -> None:
    recipe = override(
        quantized(PROX_QUANT, batchnorm_epochs=0), "quantization.quantizer.levels", (-1, 1)
    )
    run = TrainingRun(override(recipe, "quantization.quantizer", StochasticRounding()))
    for record in run:
        assert record.quantization_gap == 0
        assert record.validation_accuracy_hard == record.validation_accuracy_proximal
    drawn = run.model.get_parameter("conv2.weight").detach().clone()
    assert run.final_weights()["conv2.weight"].equal(drawn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY, (-1.0, -0.1, 0.7)])
@pytest.mark.parametrize("kind", [PiecewiseLinear, BinaryRelax, Nearest])
def test_maps_that_keep_to_their_side_of_a_gap_end_as_their_latent_weights(
    kind: type[Quantizer], levels: tuple[float, ...], dtype: torch.dtype
) -> None:
    """P_Q(P(w*)) = P_Q(w*) to the bit, also beside the middle: it is the same network."""
    torch.manual_seed(0)
    middles = [torch.tensor((low + high) / 2, dtype=dtype) for low, high in pairwise(levels)]
    close = [2 * torch.randn(2000, dtype=dtype), *middles]
    for middle in middles:
        close += [middle + torch.logspace(-40, -5, 36), middle - torch.logspace(-40, -5, 36)]
        above = below = middle
        for _ in range(20):
            above = torch.nextafter(above, above + 1)
            below = torch.nextafter(below, below - 1)
            close += [above, below]
    latent = torch.cat([value.reshape(-1).to(dtype) for value in close])
    quantizer = kind(levels)
    for sharpness in (0.0, 1e-9, 1e-7, 1e-3, 0.1, 0.35, 0.6, 1.0, 7.0):
        assert quantizer.hard(quantizer.prox(latent, sharpness)).equal(quantizer.hard(latent))
