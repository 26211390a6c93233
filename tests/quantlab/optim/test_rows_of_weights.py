"""Which weights a scale with rows of channels accepts, in recipes and in a user's own loop."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from quantlab import ConfigurationError, ProxOptimizer, Quantization
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.of_recipe import optimizer_of
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.recipe import WeightGroup
from quantlab.scales import (
    AbsoluteMean,
    FanIn,
    Largest,
    LearnedStep,
    LeastSquares,
    Scale,
    TernaryWeight,
    TrainedTernary,
)
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.recipes import small_recipe

PLAIN = Quantization(rule=PROX_CONNECT, quantizer=Nearest(TERNARY))
SCALES = [
    AbsoluteMean(per="channel"),
    FanIn(),
    Largest(per="channel"),
    LearnedStep(per="channel"),
    LeastSquares(per="channel"),
    TernaryWeight(per="channel"),
    TrainedTernary(per="channel"),
]
TRANSPOSED = {
    "ConvTranspose1d": nn.ConvTranspose1d(4, 8, 3),
    "ConvTranspose2d": nn.ConvTranspose2d(4, 8, 3, groups=2),
    "ConvTranspose3d": nn.ConvTranspose3d(4, 8, 3),
}


def of_a_recipe(model: nn.Module, quantization: Quantization) -> LatentOptimizer:
    return optimizer_of(small_recipe(quantization=quantization, batchnorm_epochs=0), model, 4)


def of_a_network(model: nn.Module, quantization: Quantization) -> LatentOptimizer:
    return ProxOptimizer(
        model.parameters(), torch.optim.SGD, quantization, model=model, steps_per_epoch=4, lr=0.1
    )


def of_groups(model: nn.Module, quantization: Quantization) -> LatentOptimizer:
    names = quantization.group_of_weights(model)
    weights = [(name, model.get_parameter(name)) for name in names]
    return ProxOptimizer(
        [{"params": weights, "quantized": True}],
        torch.optim.SGD,
        replace(quantization, include=()),
        steps_per_epoch=4,
        lr=0.1,
    )


@pytest.mark.parametrize("build", [of_a_recipe, of_a_network])
@pytest.mark.parametrize("scale", SCALES, ids=repr)
@pytest.mark.parametrize("kind", TRANSPOSED)
def test_input_channels_are_not_taken_for_output_channels(
    kind: str, scale: Scale, build: Callable[..., LatentOptimizer]
) -> None:
    model = nn.Sequential(nn.Linear(3, 4), copy.deepcopy(TRANSPOSED[kind]))
    own = replace(PLAIN, include=(kind,))
    group = WeightGroup(layers=("1",), quantizer=Nearest(TERNARY), scale=scale)
    says = rf"^Quantization\.scale = {type(scale).__name__}.*does not fit 1\.weight, .* of {kind};"
    for refused in (replace(own, scale=scale), replace(own, groups=(group,))):
        with pytest.raises(ConfigurationError, match=says):
            build(model, refused)
    other = AbsoluteMean() if isinstance(scale, FanIn) else replace(scale, per="tensor")
    build(copy.deepcopy(model), replace(own, scale=other))
    build(model, replace(PLAIN, scale=scale))


@pytest.mark.parametrize("build", [of_a_recipe, of_a_network, of_groups])
def test_a_bias_has_no_fan_in(build: Callable[..., LatentOptimizer]) -> None:
    """It has as many weights in its row as the layer has outputs."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    refused = replace(PLAIN, scale=FanIn(), include=("*.bias",))
    with pytest.raises(ConfigurationError, match=r"FanIn.*does not fit 0\.bias, of shape \(4,\), "):
        build(model, refused)
    build(copy.deepcopy(model), replace(refused, scale=AbsoluteMean(per="channel")))
    levels = build(model, replace(PLAIN, scale=FanIn())).levels()
    for found, num_inputs in zip(levels.values(), (3, 4), strict=True):
        expected = torch.full_like(found[:, -1], math.sqrt(2 / num_inputs))
        torch.testing.assert_close(found[:, -1], expected)
