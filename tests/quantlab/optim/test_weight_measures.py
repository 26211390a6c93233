"""The mean distance of hard weights from latent weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    Point,
    Quantization,
    Quantizer,
    Recipe,
    Stage,
    TrainingRun,
    UpdateRule,
)
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.weight_measures import latent_distance, weight_measures
from quantlab.packs.run import PackedRun
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT
from tests.quantlab.recipes import ADAM, quantized


def optimizer_of(rule: UpdateRule, **weights: tuple[list[float], Quantizer]) -> LatentOptimizer:
    return LatentOptimizer(
        {
            name: (nn.Parameter(torch.tensor(values, dtype=torch.float64)), quantizer)
            for name, (values, quantizer) in weights.items()
        },
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        rule=rule,
        sharpness=lambda step: 0.0,
    )


def test_of_all_weights_of_all_tensors() -> None:
    """|1 - 0.2|, |1 - 1.5|, |0 + 0.3| and |0.5 - 0.4|."""
    optimizer = optimizer_of(
        PROX_CONNECT,
        one=([0.2, 1.5], Nearest(BINARY)),
        two=([-0.3], Nearest(TERNARY)),
        three=([0.4], NearestOnGrid(0.5)),
    )
    assert latent_distance(optimizer) == pytest.approx((0.8 + 0.5 + 0.3 + 0.1) / 4)
    optimizer = optimizer_of(POST_TRAINING, one=([0.2, 1.5], Nearest(BINARY)))
    assert latent_distance(optimizer) == pytest.approx((0.8 + 0.5) / 2)


def test_weights_that_decay_to_0_come_to_a_distance_of_1() -> None:
    """Figure 7(b), without a gradient."""
    optimizer = optimizer_of(PROX_CONNECT, one=([0.9, -0.4, 1.3], Nearest(BINARY)))
    distances = []
    for _ in range(100):
        for group in optimizer.param_groups:
            group["weight_decay"] = 1.0
        optimizer.groups[0].parameters[0].grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
        distances.append(latent_distance(optimizer))
    assert distances == sorted(distances)
    assert distances[-1] == pytest.approx(1, abs=1e-4)


def test_a_step_from_the_rounded_weights_is_as_far_as_the_rounding_moves_it() -> None:
    torch.manual_seed(0)
    optimizer = optimizer_of(PROX_QUANT, one=([1.0, -1.0, 1.0], StochasticRounding(BINARY)))
    weight = optimizer.groups[0].parameters[0]
    weight.grad = torch.tensor([2.0, -4.0, 1.0], dtype=torch.float64)
    optimizer.step()
    stepped = torch.tensor([0.8, -0.6, 0.9], dtype=torch.float64)
    assert latent_distance(optimizer) == pytest.approx((weight - stepped).abs().mean().item())


def hard_and_latent(run: TrainingRun) -> list[Tensor]:
    found = []
    for point in (Point.HARD, Point.LATENT):
        with run.weights_at(point):
            weights = [p.detach().flatten() for p in run.model.parameters() if p.dim() > 1]
            found.append(torch.cat(weights))
    return found


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (PROX_CONNECT, {"quantizer": PiecewiseLinear()}),
        (PROX_CONNECT, {"quantizer": Nearest(BINARY), "scale": AbsoluteMean(per="channel")}),
        (PROX_QUANT, {"quantizer": StochasticRounding()}),
        (POST_TRAINING, {"quantizer": Nearest()}),
    ],
    ids=["PC", "scaled", "SR", "post-training"],
)
def test_records_have_it_in_the_first_stage(rule: UpdateRule, options: dict[str, Any]) -> None:
    quantization = Quantization(rule=rule, **options)
    run = TrainingRun(quantized(quantization=quantization, epochs=2, batchnorm_epochs=1))
    for record in run:
        if record.stage is Stage.BATCHNORM:
            assert record.latent_distance == 0
            continue
        hard, latent = hard_and_latent(run)
        expected = (hard - latent).abs().double().mean().item()
        assert record.latent_distance == pytest.approx(expected, rel=1e-6)
        assert record.latent_distance > 0
    (record,) = TrainingRun(quantized(quantization=None, epochs=1, batchnorm_epochs=0))
    assert record.latent_distance == 0


def test_of_a_lifted_space_it_is_that_of_the_weights() -> None:
    optimizer = optimizer_of(PROX_CONNECT, one=([0.2, -0.7], Softmax(BINARY)))
    weights = optimizer.groups[0].parameters[0].detach()
    hard = torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert latent_distance(optimizer) == pytest.approx((hard - weights).abs().mean().item())
    assert weight_measures(optimizer, None).latent_distance == latent_distance(optimizer)


def test_members_of_a_pack_have_their_own() -> None:
    recipes: list[Recipe] = [
        quantized(optimizer=ADAM, quantization=Quantization(rule=rule, quantizer=quantizer))
        for rule, quantizer in (
            (PROX_CONNECT, Nearest(BINARY)),
            (PROX_QUANT, StochasticRounding(BINARY)),
        )
    ]
    found: list[list[float]] = [[], []]
    for event in PackedRun(recipes):
        assert event.record is not None
        found[event.member].append(event.record.latent_distance)
    for recipe, distances in zip(recipes, found, strict=True):
        alone = [record.latent_distance for record in TrainingRun(recipe)]
        assert distances == pytest.approx(alone, rel=1e-2)
