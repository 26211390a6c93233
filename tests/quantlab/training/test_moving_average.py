"""The moving average of the weights: by hand, and what is evaluated and stored with it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    NonFiniteLossError,
    OptimizerSpec,
    Quantization,
    Recipe,
    TrainingRun,
)
from quantlab.canonical import fingerprint
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models import ModelSpec
from quantlab.packs import PackedRun
from quantlab.packs.compatibility import pack_key
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging, MovingAverage
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.learned_step import LearnedStep
from quantlab.schedules import Linear
from quantlab.training.evaluation import evaluate
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, Point
from tests.quantlab.packs.test_packs import (
    DOUBLE_DIGITS,
    alone,
    assert_alike,
    method,
    packed,
)
from tests.quantlab.recipes import quantized

DECAY = 0.8
SHORT: dict[str, Any] = {
    "epochs": 3,
    "batchnorm_epochs": 0,
    "dataset": replace(DOUBLE_DIGITS, train_images=128),
}
FULL = replace(method(0), quantization=None, **SHORT)
KEPT = method(6, quantizer=Nearest(TERNARY), scale=AbsoluteMean(every=3))
"""Levels that are placed in every third step."""


def with_average(recipe: Recipe, start_epoch: int = 0, decay: float = DECAY) -> Recipe:
    return replace(recipe, moving_average=MovingAverage(decay=decay, start_epoch=start_epoch))


def trajectory(recipe: Recipe) -> Iterator[tuple[TrainingRun, dict[str, Tensor]]]:
    """The trained network before the first step, and after each step of the first stage."""
    run = TrainingRun(recipe)
    yield run, run.state_dict()["model"]
    for record in run.train(pause_steps=1):
        yield run, run.state_dict()["model"]
        if record is not None and record.epoch == recipe.epochs:
            return


@pytest.mark.parametrize("start", [0, 1, 2])
def test_in_full_precision_it_is_the_recursion_of_all_weights_and_statistics(start: int) -> None:
    expected: dict[str, Tensor] = {}
    for number, (_, now) in enumerate(trajectory(FULL)):
        for name, value in now.items():
            before = expected.get(name)
            if before is None or number <= 4 * start or not value.is_floating_point():
                expected[name] = value
            else:
                expected[name] = DECAY * before + (1 - DECAY) * value
    run = TrainingRun(with_average(FULL, start))
    list(run)
    found = run.final_weights()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)
    assert not torch.equal(found["conv1.weight"], run.model.state_dict()["conv1.weight"])


@pytest.mark.parametrize("recipe", [FULL, method(1, PROX_QUANT), KEPT], ids=["FP", "PQ", "kept"])
def test_training_goes_on_from_the_weights_themselves(recipe: Recipe) -> None:
    recipe = replace(recipe, **SHORT)
    plain, averaged = TrainingRun(recipe), TrainingRun(with_average(recipe))
    for own, other in zip(averaged, plain, strict=True):
        assert own.train_loss == other.train_loss
        assert own.flip_rate == other.flip_rate
        assert own.quantization_gap == other.quantization_gap
    for name, value in averaged.model.state_dict().items():
        assert torch.equal(value, plain.model.state_dict()[name])


RULES = {
    "ProxConnect": method(0, rho0=0.1),
    "ProxQuant": method(1, PROX_QUANT, rho0=0.02),
    "post-training": method(2, POST_TRAINING, Nearest(TERNARY)),
    "lifted": method(3, quantizer=Softmax(TERNARY), rho0=1.0),
    "learned numbers": method(4, quantizer=Nearest(TERNARY), scale=LearnedStep()),
    "recomputed statistics": method(5, reestimate_batchnorm=True),
    "full precision": replace(method(0), quantization=None, batchnorm_epochs=0),
}


@pytest.mark.parametrize("recipe", RULES.values(), ids=RULES)
def test_without_decay_it_is_the_network_itself(recipe: Recipe) -> None:
    """In both stages, to the bit."""
    recipe = replace(recipe, epochs=2, select="best")
    plain, averaged = TrainingRun(recipe), TrainingRun(with_average(recipe, decay=0))
    for own, other in zip(averaged, plain, strict=True):
        assert replace(own, seconds=0) == replace(other, seconds=0)
    assert averaged.outcome() == plain.outcome()
    for name, value in averaged.final_weights().items():
        assert torch.equal(value, plain.final_weights()[name])


def test_the_map_is_applied_to_averaged_latents() -> None:
    """Of ProxConnect and ProxQuant: latents, w and hard weights at the average, by hand."""
    quantizer, rho0 = PiecewiseLinear(), 0.02
    for rule in (PROX_CONNECT, PROX_QUANT):
        plain = replace(method(0, rule, quantizer, rho0), **SHORT)
        latent = None
        for run, _ in trajectory(plain):
            (group,) = run.optimizer.groups
            now = group.latent.clone()
            latent = now if latent is None else DECAY * latent + (1 - DECAY) * now
        assert latent is not None
        run = TrainingRun(with_average(plain))
        records = list(run)
        proximal = quantizer.prox(latent, Linear(rho0).at(12, 4))
        expected = {
            Point.LATENT: latent,
            Point.PROXIMAL: proximal,
            Point.HARD: quantizer.hard(latent if rule is PROX_CONNECT else proximal),
        }
        (group,) = run.optimizer.groups
        kept = run.state_dict()["model"]
        for point, wanted in expected.items():
            with run.weights_at(point):
                torch.testing.assert_close(group.evaluation, wanted, rtol=1e-12, atol=1e-14)
                found = evaluate(run.model, run.splits.validation, plain.dataset, [run.metric])
            assert found["accuracy"] == records[-1].validation[f"accuracy_{point.value}"]
        for name, value in run.model.state_dict().items():
            assert torch.equal(value, kept[name])
        weights = run.final_weights()["conv2.weight"]
        assert set(weights.unique().tolist()) <= set(quantizer.levels)


def test_the_second_stage_begins_with_the_average_and_has_its_own() -> None:
    recipe = with_average(replace(method(0), **{**SHORT, "batchnorm_epochs": 1}))
    run, first = TrainingRun(recipe), TrainingRun(replace(recipe, batchnorm_epochs=0))
    list(first)
    hard = first.final_weights()
    training = run.train(pause_steps=1)
    while run.step < 13:  # the first step of the second stage
        next(training)
    started = run.model.state_dict()
    assert torch.equal(started["conv1.weight"], hard["conv1.weight"])
    assert not torch.equal(started["bn1.bias"], hard["bn1.bias"])
    list(training)
    final = run.final_weights()
    assert torch.equal(final["conv1.weight"], hard["conv1.weight"])
    assert not torch.equal(final["bn1.bias"], run.model.state_dict()["bn1.bias"])


def test_a_random_map_gives_the_same_network_whenever_it_is_asked_for() -> None:
    quantization = Quantization(rule=PROX_QUANT, quantizer=StochasticRounding())
    run = TrainingRun(with_average(replace(method(0), **SHORT, quantization=quantization)))
    list(run)
    torch.rand(3)
    once = run.final_weights()
    torch.rand(3)
    assert all(torch.equal(value, once[name]) for name, value in run.final_weights().items())


def test_members_of_packs_have_their_own_averages() -> None:
    """Beside each other and resumed alone; the second stage, random maps, learned numbers."""
    kinds = [
        with_average(method(0, rho0=0.1)),
        with_average(method(1, PROX_QUANT), 1, 0.5),
        with_average(method(2, POST_TRAINING, Nearest()), 2),
        with_average(method(3, PROX_QUANT, StochasticRounding()), 0, 0.0),
        with_average(method(4, reestimate_batchnorm=True)),
    ]
    scaled = [with_average(replace(KEPT, epochs=2, seed=seed)) for seed in (0, 1)]
    recipes = [replace(recipe, epochs=3, select="best") for recipe in kinds]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe))
    for found, recipe in zip(packed(scaled), scaled, strict=True):
        assert_alike(found, alone(recipe))
    learned = [with_average(replace(RULES["learned numbers"], epochs=2, seed=s)) for s in (0, 1)]
    for found, recipe in zip(packed(learned), learned, strict=True):
        assert_alike(found, alone(recipe))


@dataclass(frozen=True)
class Repeated(ModelSpec):
    """A network that has one layer of batch normalization under two names."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        shared = nn.BatchNorm1d(16)
        layers = [nn.Linear(64, 16), shared, nn.ReLU(), nn.Linear(16, 16), shared]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(16, num_classes)).double()


def test_a_layer_of_two_names_has_one_average() -> None:
    recipes = [with_average(replace(method(seed), model=Repeated(), **SHORT)) for seed in (0, 1)]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe))


def test_a_member_goes_on_alone_and_in_another_pack() -> None:
    recipes = [with_average(replace(method(seed), epochs=2)) for seed in range(3)]
    pack = PackedRun(recipes)
    training = pack.train(pause_steps=7)
    next(training)
    states = [member.state_dict() for member in pack.members]
    others = PackedRun(recipes[1:])
    single = TrainingRun(recipes[0])
    single.load_state_dict(states[0])
    for member, state in zip(others.members, states[1:], strict=True):
        member.load_state_dict(state)
    list(single)
    list(others)
    for recipe, run in zip(recipes, (single, *others.members), strict=True):
        for name, value in alone(recipe).weights.items():
            torch.testing.assert_close(run.final_weights()[name], value, rtol=1e-12, atol=1e-12)


def test_identity_and_limits() -> None:
    recipe = method(0)
    assert fingerprint(recipe) != fingerprint(with_average(recipe))
    assert pack_key(recipe) != pack_key(with_average(recipe))
    assert pack_key(with_average(recipe, 1, 0.5)) == pack_key(with_average(recipe))
    for decay in (1, 1.5, -0.1, float("nan"), "0.9"):
        with pytest.raises(ConfigurationError, match=r"MovingAverage\.decay = .*must be"):
            MovingAverage(decay=decay)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"start_epoch = 5: must be less than .* = 5"):
        with_average(recipe, 5)
    with pytest.raises(ConfigurationError, match=r"must be None with Quantization\.averaging"):
        with_average(method(0, averaging=Averaging()))
    with pytest.raises(ConfigurationError, match=r"Recipe\.moving_average = 0\.9: must be"):
        replace(recipe, moving_average=0.9)


def test_the_second_stage_averages_the_recomputed_statistics() -> None:
    """From the first step on, the average is that of the statistics it begins with."""
    recipe = with_average(method(0, reestimate_batchnorm=True))
    recipe = replace(recipe, **{**SHORT, "batchnorm_epochs": 1})
    run, pack = TrainingRun(recipe), PackedRun([recipe, replace(recipe, seed=1)])
    training = run.train(pause_steps=1)
    while run.epoch < recipe.epochs:
        next(training)
    run.begin_epoch()
    expected = {name: value.clone() for name, value in run.model.state_dict().items()}
    with run.averaged():
        for name, value in run.model.state_dict().items():
            assert torch.equal(value, expected[name])
    next(training)  # one step
    for name, value in run.model.state_dict().items():
        if value.is_floating_point():
            expected[name].lerp_(value, 1 - DECAY)
    with run.averaged():
        for name in ("bn1.running_mean", "bn3.running_var", "bn2.weight"):
            found = run.model.state_dict()[name]
            torch.testing.assert_close(found, expected[name], rtol=1e-12, atol=1e-14)
    list(training)
    list(pack)
    for name, value in pack.members[0].final_weights().items():
        torch.testing.assert_close(value, run.final_weights()[name], rtol=1e-9, atol=1e-9)


@dataclass(frozen=True)
class Bare(ModelSpec):
    """A linear layer without biases."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes, bias=False))


@pytest.mark.parametrize("select", ["last", "best"])
def test_an_average_of_infinite_latents_is_no_result(select: str) -> None:
    """The network itself has levels as its weights, and its loss is finite."""
    recipe = quantized(
        model=Bare(),
        optimizer=OptimizerSpec(learning_rate=3e38, options={"momentum": 0.9}),
        quantization=Quantization(rule=PROX_CONNECT, quantizer=Nearest()),
        epochs=2,
        batchnorm_epochs=0,
        select=select,
    )
    plain, averaged = TrainingRun(recipe), TrainingRun(with_average(recipe))
    for own, other in zip(averaged, plain, strict=True):
        assert own.train_loss == other.train_loss
    assert plain.outcome().validation_accuracy > 0
    with pytest.raises(NonFiniteLossError):
        averaged.outcome()
