"""Bop against its algorithm by hand in float64, in packs, interrupted, and what it refuses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from quantlab import ConfigurationError, OptimizerSpec, ProxOptimizer, Recipe, TrainingRun
from quantlab.backward_maps import ClippedIdentity
from quantlab.models.convnet import ConvNet
from quantlab.optim.bop import Bop
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.of_recipe import learning_rate_of, optimizer_of
from quantlab.optimizer_spec import ParameterGroup, set_learning_rate
from quantlab.packs.compatibility import require_compatible
from quantlab.papers.bop import CIFAR10_OPTIMIZER, CIFAR10_QUANTIZATION, optimizer, quantization
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import WeightGroup
from quantlab.scales import AbsoluteMean, FanIn, Largest, LearnedStep
from quantlab.schedules import Constant, StepDecay
from quantlab.update_rules import POST_TRAINING
from tests.quantlab.packs.test_packs import (
    DOUBLE_DIGITS,
    Double,
    alone,
    assert_alike,
    interrupted,
    packed,
)
from tests.quantlab.recipes import small_recipe

Array = npt.NDArray[np.float64]

STEPS, STEPS_PER_EPOCH, SIZE = 50, 10, 40
_RANDOM = np.random.default_rng(3)
MATRIX = _RANDOM.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
START = np.concatenate([[0.0, -0.0, 1e-3, -1e-3], _RANDOM.standard_normal(SIZE - 4)])
TARGET = _RANDOM.standard_normal(SIZE)
RATE, THRESHOLD = StepDecay(0.04, milestones=(3,)), 0.25
ADAPTIVITY = StepDecay(5.0, milestones=(2, 4), factor=0.5)
RECIPE = small_recipe(
    optimizer=replace(
        optimizer(RATE, threshold=THRESHOLD),
        groups=(ParameterGroup(parameters=("bias",), options={"betas": (0.8, 0.99)}),),
    ),
    quantization=quantization(ADAPTIVITY),
    epochs=5,
)


def by_hand() -> Iterator[tuple[Array, float, int]]:
    """The weights, the bias, and the number of weights that have just flipped."""
    weights = np.where(START >= 0, 1.0, -1.0)
    average, bias, first, second = np.zeros(SIZE), 0.0, 0.0, 0.0
    for step in range(STEPS):
        rate = 0.04 * (0.1 if step >= 30 else 1.0)
        gamma = rate * 5.0 * (0.25 if step >= 40 else 0.5 if step >= 20 else 1.0)
        residual = MATRIX @ weights + bias - TARGET
        average = (1 - gamma) * average + gamma * (MATRIX.T @ residual)
        flips = (np.abs(average) > THRESHOLD) & (np.sign(average) == np.sign(weights))
        weights = np.where(flips, -weights, weights)
        slope = residual.sum()
        first, second = 0.8 * first + 0.2 * slope, 0.99 * second + 0.01 * slope**2
        corrected = first / (1 - 0.8 ** (step + 1))
        bias -= rate * corrected / (np.sqrt(second / (1 - 0.99 ** (step + 1))) + 1e-8)
        yield weights, bias, int(flips.sum())


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIZE, 1, bias=False).double()
        self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.linear.weight.data.copy_(torch.from_numpy(START))

    def loss(self) -> torch.Tensor:
        lines = torch.from_numpy(MATRIX) @ self.linear.weight[0] + self.bias
        return (lines - torch.from_numpy(TARGET)).square().sum() / 2


def steps(line: Line, prox: LatentOptimizer, start: int, stop: int) -> Iterator[None]:
    rate = learning_rate_of(RECIPE.optimizer, STEPS_PER_EPOCH)
    for step in range(start, stop):
        set_learning_rate(prox.param_groups, rate(step))
        prox.zero_grad()
        line.loss().backward()
        prox.step()
        yield


def test_weights_flip_as_in_the_algorithm_by_hand() -> None:
    """Also if it is interrupted: averages, moments and weights are those of the whole run."""
    expected = list(by_hand())
    flips = [count for _, _, count in expected]
    assert sum(flips) > 20
    assert 0 < np.mean([count > 0 for count in flips]) < 1
    for stop in (STEPS, 17):
        line = Line()
        prox = optimizer_of(RECIPE, line, STEPS_PER_EPOCH)
        done = 0
        while done < STEPS:
            until = stop if done < stop else STEPS
            for _ in steps(line, prox, done, until):
                weights, bias, _ = expected[done]
                assert np.array_equal(line.linear.weight.detach().numpy()[0], weights)
                assert line.bias.item() == pytest.approx(bias, abs=1e-12)
                done += 1
            state, line = prox.state_dict(), Line()
            other = optimizer_of(RECIPE, line, STEPS_PER_EPOCH)
            other.load_state_dict(state)
            line.bias.data.copy_(torch.tensor([expected[done - 1][1]]))
            prox = other


def of_digits(seed: int = 0, adaptivity: float = 10.0, threshold: float = 1e-3) -> Recipe:
    return Recipe(
        model=Double(ConvNet(width=3)),
        dataset=DOUBLE_DIGITS,
        optimizer=optimizer(StepDecay(0.01, milestones=(2,)), threshold=threshold),
        quantization=quantization(StepDecay(adaptivity, milestones=(1,), factor=0.5)),
        epochs=3,
        batchnorm_epochs=1,
        batch_size=32,
        seed=seed,
    )


def test_members_of_a_pack_are_trained_as_alone() -> None:
    """Also when one of them goes on alone from the middle of an epoch."""
    recipes = [of_digits(), of_digits(1, 5.0), of_digits(2, 10.0, 3e-3)]
    expected = [alone(recipe) for recipe in recipes]
    for found, wanted in zip(packed(recipes), expected, strict=True):
        assert_alike(found, wanted, 1e-8)
        assert wanted.records[0].flip_rate > 0.05
        assert {record.quantization_gap for record in wanted.records} == {0}
    states, _ = interrupted(recipes, 2)
    run = TrainingRun(recipes[1])
    run.load_state_dict(states[1])
    list(run)
    for name, weight in run.final_weights().items():
        torch.testing.assert_close(weight, expected[1].weights[name], rtol=1e-8, atol=1e-8)
    adam = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.01))
    with pytest.raises(ConfigurationError, match=r"optimizer\.algorithm = 'Adam'.*'Bop'"):
        require_compatible([recipes[0], replace(recipes[1], optimizer=adam)])


def test_more_weights_flip_with_a_lower_threshold() -> None:
    """As in Figure 2 of the paper; with an infinite one in effect, none does."""
    rates = []
    for threshold in (1e-3, 1e-2, 1e9):
        record = next(iter(TrainingRun(of_digits(threshold=threshold))))
        rates.append(record.flip_rate)
    assert rates[0] > rates[1] > rates[2] == 0


def test_groups_of_torch_are_enough_without_a_recipe() -> None:
    """Adam's options leave binary weights alone, and the others are Adam's to the last bit."""
    torch.manual_seed(0)
    binary, plain, same = (nn.Parameter(torch.randn(6)) for _ in range(3))
    same.data.copy_(plain.data)
    own = Bop([{"params": [binary], "flips": True, "lr": 0.5}, {"params": [plain]}], lr=0.1)
    adam = torch.optim.Adam([same], lr=0.1)
    for _ in range(5):
        binary.grad = torch.ones(6)
        plain.grad = same.grad = torch.randn(6)
        own.step()
        adam.step()
    assert torch.equal(binary, -torch.ones(6))
    assert torch.equal(plain, same)
    assert own.state[binary]["gradient_average"].unique().tolist() == [1 - 0.5**5]
    copy = Bop([{"params": [binary], "flips": True}, {"params": [plain]}])
    copy.load_state_dict(own.state_dict())
    assert copy.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("threshold", "gradient", "flips"), [(0.5, 1.0, False), (0.49, 1.0, True), (0.0, -1.0, False)]
)
def test_an_average_must_exceed_the_threshold(
    threshold: float, gradient: float, flips: bool
) -> None:
    """And a weight without a gradient stays, also at the threshold 0."""
    weight, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [weight]}, {"params": [still], "threshold": 0.0}]
    bop = Bop(groups, lr=0.5, threshold=threshold, flips=True)
    weight.grad, still.grad = torch.full((2,), gradient), torch.zeros(2)
    bop.step()
    assert weight.tolist() == ([-1, -1] if flips else [1, 1])
    assert still.tolist() == [1, 1]


def test_the_published_setting() -> None:
    """gamma = 1e-4, a tenth of it after every 100 epochs; Adam at 0.01."""
    assert CIFAR10_OPTIMIZER.options == {"threshold": 1e-8}
    scale, rate = CIFAR10_QUANTIZATION.step_scale, CIFAR10_OPTIMIZER.learning_rate
    assert scale is not None
    for epoch, gamma in ((0, 1e-4), (99, 1e-4), (100, 1e-5), (250, 1e-6), (499, 1e-8)):
        assert rate.at(epoch * 1000, 1000) == 0.01
        assert scale.at(epoch * 1000, 1000) * 0.01 == pytest.approx(gamma)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantizer": Nearest(TERNARY)}, r"must be Nearest\(.*but is Nearest\("),
        ({"quantizer": PiecewiseLinear(BINARY)}, "but is PiecewiseLinear"),
        (
            {"groups": (WeightGroup(layers=("Linear",), quantizer=Nearest(TERNARY)),)},
            "weights without latents are levels",
        ),
        (
            {"scale": AbsoluteMean(per="channel")},
            r"the scale must be None or FanIn\(\), .* but is AbsoluteMean\(per='channel'",
        ),
        ({"scale": LearnedStep()}, r"the scale must be None or FanIn\(\), .* but is LearnedStep"),
        (
            {"groups": (WeightGroup(layers=("*",), quantizer=Nearest(BINARY), scale=Largest()),)},
            "the scale must be None",
        ),
        ({"rule": POST_TRAINING}, r"Quantization\.rule = .* must be UpdateRule"),
        ({"pull": 0.5}, r"Quantization\.pull = Constant\(value=0\.5\) must be None"),
        ({"backward": ClippedIdentity()}, r"Quantization\.backward = .* must be StraightThrough"),
        (None, r"Recipe\.quantization = None must be a Quantization"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    changes: dict[str, Any] | None, says: str
) -> None:
    given = None if changes is None else replace(quantization(Constant(0.1)), **changes)
    recipe = small_recipe(optimizer=optimizer(Constant(0.01)), quantization=given)
    with pytest.raises(ConfigurationError, match=rf"^OptimizerSpec\.algorithm = Bop: .*{says}"):
        TrainingRun(recipe)
    with pytest.raises(ConfigurationError, match=r"threshold = -1: must be a finite number >= 0"):
        optimizer(Constant(0.01), threshold=-1)


def test_groups_of_torch_are_refused_for_the_same_reasons() -> None:
    layer = nn.Linear(4, 3)
    first = {"params": [layer.weight], "quantized": True}
    second = {"params": [nn.Linear(3, 2).weight], "quantized": True}
    own = ({"scale": AbsoluteMean()}, {"quantizer": PiecewiseLinear(BINARY)})
    for entries, says in zip(own, ("scale must be None", "quantizer must be"), strict=True):
        with pytest.raises(ConfigurationError, match=rf"^OptimizerSpec\.algorithm = Bop: .*{says}"):
            flipping([{**first, **entries}])
        flips = flipping([first])
        with pytest.raises(ConfigurationError, match=rf"^OptimizerSpec\.algorithm = Bop: .*{says}"):
            flips.add_param_group({**second, **entries})


def flipping(groups: list[dict[str, Any]]) -> ProxOptimizer:
    return ProxOptimizer(groups, Bop, quantization(Constant(0.1)), steps_per_epoch=2, lr=0.01)


def test_levels_of_the_fan_in_stay_where_they_are() -> None:
    """All other levels would be those of weights that are -1 or 1."""
    found = small_recipe(
        optimizer=optimizer(Constant(0.01)),
        quantization=replace(quantization(Constant(0.1)), scale=FanIn()),
        epochs=2,
    )
    run = TrainingRun(found)
    before = run.optimizer.levels()
    for _ in run:
        pass
    after = run.optimizer.levels()
    assert before.keys() == after.keys() != set()
    for name, levels in before.items():
        assert torch.equal(levels, after[name])
