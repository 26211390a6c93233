"""A member of a pack is trained as it would be alone."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    EpochRecord,
    NonFiniteLossError,
    OptimizerSpec,
    Quantization,
    Quantizer,
    Recipe,
    TrainingRun,
)
from quantlab.backward_maps import (
    ClippedIdentity,
    Factor,
    Jacobian,
    ReSTE,
    SignSwishDerivative,
    SoftmaxShortcut,
    StraightThrough,
)
from quantlab.datasets import DatasetSpec
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.execution import Execution
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.models.mlp import MLP
from quantlab.models.resnet import ResNet
from quantlab.packs import PackedRun
from quantlab.packs.compatibility import pack_key, require_compatible
from quantlab.packs.evaluation import stacked_metric
from quantlab.packs.network import Stacking
from quantlab.packs.stacking import choose_stacking
from quantlab.probing.pack_sizes import PackTimes, measure_packs, seconds_a_step
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging, WeightGroup
from quantlab.schedules import Constant, Linear, StepDecay
from quantlab.tasks.classification import TopAccuracy
from quantlab.update_rules import (
    POST_TRAINING,
    PROX_CONNECT,
    PROX_QUANT,
    REVERSE_PROX_CONNECT,
    UpdateRule,
)
from tests.quantlab.recipes import SGD, quantized, small_recipe

STACKINGS = list(Stacking)


@dataclass(frozen=True)
class Double(ModelSpec):
    """A network in float64."""

    of: ModelSpec

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return self.of.build(num_classes=num_classes, num_channels=num_channels).double()


@dataclass(frozen=True)
class Dropping(ModelSpec):
    """A network that draws random numbers."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        size = num_channels * 64
        return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(size, num_classes))


@dataclass(frozen=True, kw_only=True)
class DoubleDigits(Digits):
    """Images in float64."""

    def normalize(self, pixels: Tensor) -> Tensor:
        return super().normalize(pixels).double()


@dataclass(frozen=True, kw_only=True)
class OneByOne(DoubleDigits):
    """Batches for several trials as a dataset has them that does nothing about it."""

    stacked_batches = DatasetSpec.stacked_batches


@dataclass(frozen=True)
class Choosy(Quantizer):
    """A map of a user's that takes one number as its sharpness, and nothing else."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return torch.tanh((2 if sharpness > 0.2 else 1 + sharpness) * latent)


DOUBLE_DIGITS = DoubleDigits(
    train_images=320, validation_images=60, augmentation=CropFlip(padding=1, flip=False)
)
STEPS_PER_EPOCH = 10 if "QUANTLAB_CHAOS" in os.environ else 5  # `make chaos` takes more
FEW_DIGITS = replace(DOUBLE_DIGITS, train_images=32 * STEPS_PER_EPOCH)


def method(
    seed: int,
    rule: UpdateRule = PROX_CONNECT,
    quantizer: Quantizer = PiecewiseLinear(),  # noqa: B008
    rho0: float = 0.01,
    *,
    optimizer: OptimizerSpec | None = None,
    **options: Any,
) -> Recipe:
    """10 steps an epoch, 50 steps, then 10 with frozen weights."""
    sharpness = Linear(rho0)
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=sharpness, **options)
    return Recipe(
        model=Double(ConvNet(width=4)),
        dataset=DOUBLE_DIGITS,
        optimizer=optimizer or SGD,
        quantization=quantization,
        epochs=5,
        batchnorm_epochs=1,
        batch_size=32,
        seed=seed,
    )


def on_few_digits(*recipes: Recipe) -> list[Recipe]:
    """With fewer steps, all of which are alike but for the schedules, which go by epochs."""
    return [replace(recipe, dataset=FEW_DIGITS) for recipe in recipes]


@dataclass(frozen=True)
class Centering(Quantizer):
    """A map that is not elementwise: it looks at the mean of the weights."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return latent - 0.1 * latent.mean()


@dataclass(frozen=True)
class Secretive(Constant):
    """A schedule that does not show its value."""

    def __repr__(self) -> str:
        return "Secretive()"


SECRETS = [
    OptimizerSpec(learning_rate=Secretive(rate), options={"momentum": 0.9}) for rate in (0.02, 0.08)
]
OTHER_SGD = OptimizerSpec(
    learning_rate=StepDecay(0.1, milestones=(2,)), options={"momentum": 0.5, "weight_decay": 0.01}
)
METHODS = on_few_digits(
    method(0),
    method(0, rho0=0.3),
    method(1, quantizer=PiecewiseLinear((-1.0, 1.0)), rho0=0.3),
    method(2, PROX_QUANT),
    method(3, REVERSE_PROX_CONNECT),
    method(4, quantizer=Nearest()),
    method(5, POST_TRAINING, Nearest()),
    method(6, PROX_QUANT, StochasticRounding()),
    method(7, PROX_QUANT, StochasticRounding(), rho0=0.1),
    method(8, quantizer=BinaryRelax()),
    method(9, quantizer=Choosy()),
    method(10, quantizer=Choosy(), rho0=0.05),
    method(20, quantizer=Centering()),
    method(21, quantizer=Centering()),
    method(22, POST_TRAINING, StochasticRounding(), averaging=Averaging()),
    method(11, latent_bound=0.2),
    method(23, optimizer=SECRETS[0]),
    method(24, optimizer=SECRETS[1]),
    method(12, averaging=Averaging(start_epoch=2)),
    method(25, averaging=Averaging(start_epoch=1), reestimate_batchnorm=True),
    method(26, REVERSE_PROX_CONNECT, StochasticRounding(), reestimate_batchnorm=True),
    method(13, optimizer=OTHER_SGD),
    method(14, REVERSE_PROX_CONNECT, Nearest((-1.0, 1.0)), optimizer=OTHER_SGD),
)


@dataclass(frozen=True)
class OfNumbers(Factor):
    """A backward map of a user's that takes one number as its sharpness, and nothing else."""

    @property
    def annealed(self) -> bool:
        return True

    def factor(self, latent: Tensor, sharpness: Any) -> Tensor:
        return (1 / (1 + sharpness * latent.square())) if sharpness > 0.02 else 1 + 0 * latent


@dataclass(frozen=True)
class Halved(StraightThrough):
    """A straight-through estimator with a factor."""

    def apply(self, gradient: Tensor, latent: Tensor, sharpness: Any, quantizer: Any) -> Tensor:
        return super().apply(gradient, latent, sharpness, quantizer) / 2


@dataclass(frozen=True)
class ChoosySoftmax(Softmax):
    """A lifted map of a user's that takes one number as its sharpness, and nothing else."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return torch.softmax(latent * (2 if sharpness > 0.02 else 1 + sharpness), dim=-2)


TANH = ShiftedTanh(BINARY)
RISING = Linear(1.0, period=40)
STEPS_OF_ALL_KINDS = on_few_digits(
    method(0),
    method(1, quantizer=TANH, rho0=1.0),
    method(2, quantizer=TANH, rho0=2.0, backward=Jacobian()),
    method(3, quantizer=ShiftedTanh(TERNARY), rho0=2.0, backward=Jacobian()),
    method(4, quantizer=ShiftedTanh(BINARY, beta=1.0), step_scale=RISING),
    method(5, quantizer=ShiftedTanh(BINARY, beta=1.0), step_scale=Linear(0.5, period=30)),
    method(6, quantizer=Nearest(BINARY), backward=ClippedIdentity(0.3)),
    method(7, quantizer=Nearest(BINARY), backward=SignSwishDerivative(2.0)),
    method(8, quantizer=Nearest(BINARY), backward=SignSwishDerivative(), rho0=2.0),
    method(9, quantizer=SignSwish(), backward=Jacobian(), rho0=2.0),
    method(10, quantizer=Nearest(BINARY), backward=ReSTE(cap=4.0), rho0=1.0),
    method(11, backward=OfNumbers()),
    method(12, backward=OfNumbers(), rho0=0.03),
    method(13, pull=Constant(0.01)),
    method(14, pull=0.3, rho0=0.03),
    method(15, pull=StepDecay(0.2, milestones=(1, 2))),
    method(16, POST_TRAINING, pull=0.05),
    method(17, PROX_QUANT),
    method(18, pull=1),
    method(19, quantizer=Choosy(), pull=0.02),
    method(20, quantizer=StochasticRounding(), pull=0.5),
    method(22, backward=Halved()),
    method(21, quantizer=TANH, rho0=1.0, latent_bound=0.4, averaging=Averaging(start_epoch=1)),
)
"""Pulls, backward maps and step scales of weights with one latent."""
LIFTED_STEPS = on_few_digits(
    method(0, quantizer=Softmax(TERNARY), rho0=1.0),
    method(1, quantizer=Softmax(TERNARY), rho0=2.0, backward=Jacobian()),
    method(2, quantizer=Softmax(TERNARY), rho0=2.0, backward=SoftmaxShortcut()),
    method(3, quantizer=Softmax(TERNARY, beta=1.0), step_scale=RISING),
    method(4, quantizer=Softmax(TERNARY), rho0=1.0, pull=0.02),
    method(5, quantizer=Softmax(TERNARY), rho0=3.0, pull=StepDecay(0.2, milestones=(1, 2))),
    method(6, quantizer=Softmax((-1.0, 0.25, 1.0)), rho0=3.0, averaging=Averaging()),
    method(7, PROX_QUANT, Softmax(TERNARY), rho0=3.0),
    method(8, quantizer=ChoosySoftmax(TERNARY), pull=0.02),
    method(9, quantizer=ChoosySoftmax(TERNARY), rho0=0.03, pull=0.02),
)


@dataclass
class Result:
    """What a training left."""

    records: list[EpochRecord]
    weights: Mapping[str, Tensor]
    outcome: Any


def alone(recipe: Recipe) -> Result:
    run = TrainingRun(recipe)
    return Result(list(run), run.final_weights(), run.outcome())


def packed(recipes: Sequence[Recipe], stacking: Stacking | None = None) -> list[Result]:
    pack = PackedRun(recipes, stacking=stacking)
    records: list[list[EpochRecord]] = [[] for _ in recipes]
    for event in pack:
        assert event.record is not None
        records[event.member].append(event.record)
    return [
        Result(own, run.final_weights(), run.outcome())
        for own, run in zip(records, pack.members, strict=True)
    ]


def assert_alike(found: Result, expected: Result, tolerance: float = 1e-12) -> None:
    """The whole trajectory: losses and accuracies of all epochs, and where it ends."""
    for own, other in zip(found.records, expected.records, strict=True):
        same: dict[str, Any] = {"train_loss": 0.0, "quantization_gap": 0.0, "seconds": 0.0}
        same |= {"latent_distance": 0.0, "flip_distance": 0.0, "weight_histogram": None}
        same["validation"] = {}
        assert replace(own, **same) == replace(other, **same)
        if own.weight_histogram != other.weight_histogram:  # its range may be that of a scale
            assert own.weight_histogram is not None
            assert other.weight_histogram is not None
            high = pytest.approx(other.weight_histogram.high, rel=tolerance)
            assert own.weight_histogram.high == high
            assert own.weight_histogram.counts == other.weight_histogram.counts
        assert own.validation == approximate(other.validation, tolerance)
        assert own.train_loss == pytest.approx(other.train_loss, rel=tolerance, abs=tolerance)
        for name in ("quantization_gap", "latent_distance"):
            close = pytest.approx(getattr(other, name), rel=tolerance, abs=tolerance)
            assert getattr(own, name) == close, name
        assert own.flip_distance == pytest.approx(
            other.flip_distance, rel=tolerance, abs=tolerance, nan_ok=True
        )
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight, expected.weights[name], rtol=tolerance, atol=tolerance)
    assert replace(found.outcome, validation={}, test={}) == replace(
        expected.outcome, validation={}, test={}
    )
    assert found.outcome.validation == approximate(expected.outcome.validation, tolerance)
    assert found.outcome.test == approximate(expected.outcome.test, tolerance)


def approximate(values: Mapping[str, float], tolerance: float) -> Any:
    """Fractions of examples are the same, and other numbers nearly."""
    return pytest.approx(dict(values), rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.fixture(scope="module")
def lone_results() -> list[Result]:
    return [alone(recipe) for recipe in METHODS]


@pytest.mark.parametrize("stacking", STACKINGS)
def test_a_members_trajectory_is_that_of_the_lone_run(
    stacking: Stacking, lone_results: list[Result]
) -> None:
    """Any rule, set, map, schedule and optimizer setting beside any other, in float64."""
    for found, expected in zip(packed(METHODS, stacking), lone_results, strict=True):
        assert_alike(found, expected)


@pytest.mark.parametrize("recipes", [STEPS_OF_ALL_KINDS, LIFTED_STEPS], ids=["one", "lifted"])
def test_steps_of_all_kinds_stand_beside_each_other(recipes: list[Recipe]) -> None:
    """Also resumed alone from the middle of a pack's epoch."""
    recipes = [replace(recipe, epochs=3) for recipe in recipes]
    expected = [alone(recipe) for recipe in recipes]
    for found, wanted in zip(packed(recipes, Stacking.FOLDED), expected, strict=True):
        assert_alike(found, wanted)
    states, _ = interrupted(recipes, pauses=3)
    for recipe, state, wanted in zip(recipes, states, expected, strict=True):
        run = TrainingRun(recipe)
        run.load_state_dict(state)
        list(run)
        for name, weight in run.final_weights().items():
            torch.testing.assert_close(weight, wanted.weights[name], rtol=1e-12, atol=1e-12)


def test_lifted_weights_are_packed_with_their_like() -> None:
    with pytest.raises(ConfigurationError, match="latents per weight"):
        require_compatible([STEPS_OF_ALL_KINDS[0], LIFTED_STEPS[0]])


@pytest.mark.parametrize("stacking", STACKINGS)
@pytest.mark.parametrize("model", [ResNet(depth=8, width=4), MLP(hidden=(12, 10))])
def test_other_networks(model: ModelSpec, stacking: Stacking) -> None:
    recipes = [replace(recipe, model=Double(model), epochs=2) for recipe in METHODS[:5]]
    for found, recipe in zip(packed(recipes, stacking), recipes, strict=True):
        assert_alike(found, alone(recipe), 1e-10)  # deeper: sums are longer


def test_groups_of_layers_and_full_precision() -> None:
    group = WeightGroup(layers=("Linear",), quantizer=PiecewiseLinear((-1.0, 0.0, 0.5)))
    grouped = [method(seed, rho0=rho0, groups=(group,)) for seed, rho0 in ((0, 0.01), (1, 0.1))]
    excluding = [method(seed, rho0=0.02 * seed, exclude=("conv1",)) for seed in range(3)]
    full = [replace(method(seed), quantization=None, batchnorm_epochs=0) for seed in range(2)]
    for recipes in (grouped, excluding, full):
        for found, recipe in zip(packed(recipes), recipes, strict=True):
            assert_alike(found, alone(recipe))


@pytest.mark.parametrize("algorithm", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.AdamW])
def test_other_optimizers(algorithm: type[torch.optim.Optimizer]) -> None:
    """They divide by the size of the gradient, which makes much of the rounding where that is 0."""
    specs = [
        OptimizerSpec(
            algorithm=algorithm, learning_rate=StepDecay(rate, milestones=(3,)), options=options
        )
        for rate, options in ((0.01, {"weight_decay": 0.01}), (0.02, {}), (0.01, {}))
    ]
    recipes = [method(seed, optimizer=specs[seed % 3]) for seed in range(5)]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe), 1e-8)


def test_a_dataset_that_knows_nothing_of_packs() -> None:
    recipes = [
        replace(recipe, dataset=OneByOne(train_images=300, validation_images=60), epochs=2)
        for recipe in METHODS[5:9]
    ]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe))


def test_float32_differs_by_rounding() -> None:
    """Sums of hundreds of terms in another order: 1e-5 of a loss, until chaos sets in."""
    recipes = [quantized(seed=seed, epochs=1) for seed in range(4)]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        own, other = found.records[0], alone(recipe).records[0]
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-5)


@pytest.mark.parametrize("stacking", STACKINGS)
def test_bf16_differs_by_its_rounding(stacking: Stacking) -> None:
    """Products have 8 bits; losses are sums of many of them."""
    execution = Execution(bf16=True)
    recipes = [quantized(seed=seed, epochs=1, batchnorm_epochs=0) for seed in range(3)]
    for event in PackedRun(recipes, stacking=stacking, execution=execution):
        (expected,) = TrainingRun(recipes[event.member], execution=execution)
        assert event.record is not None
        assert event.record.train_loss == pytest.approx(expected.train_loss, rel=1e-3)


def test_a_pack_of_one_is_the_lone_run_to_the_bit() -> None:
    recipe = quantized()
    (found,), expected = packed([recipe]), alone(recipe)
    assert [replace(record, seconds=0) for record in found.records] == [
        replace(record, seconds=0) for record in expected.records
    ]
    assert all(torch.equal(weight, expected.weights[key]) for key, weight in found.weights.items())


@dataclass(frozen=True)
class Exploding(Quantizer):
    """The identity for some steps; then, in the double precision of packs here, beyond numbers."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        sharpness = torch.as_tensor(sharpness, dtype=latent.dtype)
        if latent.dtype is torch.float32:  # where it is tried before anything is trained
            return latent.clone()
        return torch.where(sharpness > 0.25, latent * torch.inf, latent)


def test_a_diverging_member_does_not_touch_the_others(lone_results: list[Result]) -> None:
    (bad,) = on_few_digits(
        method(3, quantizer=Exploding(), rho0=0.1)
    )  # passes 0.25 in the third epoch
    recipes = [*METHODS[:4], bad, *METHODS[4:8]]
    run = TrainingRun(bad)
    with pytest.raises(NonFiniteLossError) as expected:
        list(run)
    pack = PackedRun(recipes)
    events = list(pack)
    (diverged,) = (event for event in events if event.error is not None)
    assert diverged.member == 4
    assert diverged.error is not None
    assert str(diverged.error) == str(expected.value)
    assert diverged.error.step == expected.value.step == run.step == pack.members[4].step
    assert list(pack.diverged) == [4]
    for name, weight in run.model.state_dict().items():  # frozen as they were
        frozen = pack.members[4].model.state_dict()[name]
        torch.testing.assert_close(frozen, weight, rtol=1e-12, atol=1e-12, equal_nan=True)
    others = [member for place, member in enumerate(pack.members) if place != 4]
    for place, (member, lone) in enumerate(zip(others, lone_results, strict=False)):
        number = place if place < 4 else place + 1
        records = [event.record for event in events if event.member == number and event.record]
        assert_alike(Result(records, member.final_weights(), member.outcome()), lone)


def test_a_pack_that_is_not_compiled_does_without_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which takes 55 MiB of memory for its modules, and a second."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.compile was called")

    monkeypatch.setattr(torch, "compile", refuse)
    for stacking in STACKINGS:
        pack = PackedRun([quantized(seed=seed, epochs=1) for seed in range(2)], stacking=stacking)
        assert next(pack.train(pause_steps=1)) == []


@pytest.mark.slow
def test_a_compiled_pack_trains_as_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    compiled_calls: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        compiled_calls.append(arguments)
        return compile_(*arguments, **options)

    monkeypatch.setattr(torch, "compile", counted)
    recipes = [quantized(seed=seed, epochs=1, batchnorm_epochs=0) for seed in range(2)]
    losses = [
        [
            event.record.train_loss
            for event in PackedRun(recipes, execution=Execution(compile=compiled))
            if event.record is not None
        ]
        for compiled in (False, True)
    ]
    assert compiled_calls
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def interrupted(recipes: Sequence[Recipe], pauses: int) -> tuple[list[Any], list[Any]]:
    """States and records after so many pauses, of at most 3 steps, and at the end of an epoch."""
    pack = PackedRun(recipes)
    records: list[list[EpochRecord]] = [[] for _ in recipes]
    training: Iterator[Any] = pack.train(pause_steps=3)
    for _ in range(pauses):
        for event in next(training):
            records[event.member].append(event.record)
    return [member.state_dict() for member in pack.members], records


def test_members_go_on_in_other_packs_and_alone(lone_results: list[Result]) -> None:
    """From different places, in a pack of another size, with others, and by themselves."""
    an_epoch = math.ceil(STEPS_PER_EPOCH / 3)
    first, early = interrupted(METHODS[:8], pauses=an_epoch + 1)
    second, late = interrupted(METHODS[8:14], pauses=5 * an_epoch + 1)
    states, before = first + second, early + late
    for places in ([0, 9, 3, 8, 12, 7], [13], [10, 11], [5]):
        pack = PackedRun([METHODS[place] for place in places])
        records = [list(before[place]) for place in places]
        for place, member in zip(places, pack.members, strict=True):
            member.load_state_dict(states[place])
        for event in pack:
            assert event.record is not None
            records[event.member].append(event.record)
        for place, member, own in zip(places, pack.members, records, strict=True):
            result = Result(own, member.final_weights(), member.outcome())
            assert_alike(result, lone_results[place])


def test_a_members_state_holds_nothing_of_the_others() -> None:
    """Or checkpoints would be as large as the pack, each of them."""
    states, _ = interrupted(METHODS[:8], pauses=2)
    lone = TrainingRun(METHODS[0])
    next(lone.train(pause_steps=6))

    def size(state: Any) -> int:
        if isinstance(state, Tensor):
            return state.untyped_storage().nbytes()
        values = state.values() if isinstance(state, Mapping) else state
        is_container = isinstance(state, Mapping | list | tuple)
        return sum(size(value) for value in values) if is_container else 0

    assert 0 < size(states[0]) <= size(lone.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 16}, "recipe 1 has batch_size = 16, but recipe 0 has 32"),
        ({"epochs": 4}, "recipe 1 has epochs = 4, but recipe 0 has 3"),
        ({"batchnorm_epochs": 1}, "recipe 1 has batchnorm_epochs = 1"),
        ({"steps_per_epoch": 7}, "recipe 1 has steps_per_epoch = 7, but recipe 0 has None"),
        ({"model": ConvNet(width=5)}, r"recipe 1 has model = ConvNet\(width=5\)"),
        ({"dataset": Digits(train_images=100)}, "recipe 1 has dataset = Digits"),
        (
            {"optimizer": OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.1))},
            "recipe 1 has optimizer.algorithm = 'Adam', but recipe 0 has 'SGD'",
        ),
        (
            {"quantization": None, "batchnorm_epochs": 0},
            "recipe 1 has (batchnorm_epochs = 0|quantization)",
        ),
    ],
)
def test_what_may_not_differ(changes: dict[str, Any], message: str) -> None:
    recipes = [quantized(), replace(quantized(seed=1), **changes)]
    with pytest.raises(ConfigurationError, match=message):
        PackedRun(recipes)
    assert pack_key(recipes[0]) != pack_key(recipes[1])
    assert pack_key(recipes[0]) == pack_key(quantized(PROX_QUANT, seed=5))


def test_an_optimizer_whose_updates_are_not_elementwise_is_refused() -> None:
    spec = OptimizerSpec(algorithm=torch.optim.Adafactor, learning_rate=Constant(0.1))
    recipes = [small_recipe(optimizer=spec, seed=seed) for seed in range(2)]
    with pytest.raises(ConfigurationError, match="algorithm = Adafactor: its updates are not"):
        require_compatible(recipes)
    require_compatible(recipes[:1])


class _Odd(nn.Module):
    """A network with something odd between its convolution and its last layer."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.between = between or nn.Identity()
        self.linear = nn.Linear(4, 10)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.between(self.conv(x)).mean(dim=(2, 3)))
        return logits


class _Scaled(_Odd):
    """Has a parameter without any axis."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * super().forward(x)


class _Forgetful(_Odd):
    """Gives a buffer another tensor, of which nobody else would hear."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(()))
        self.center: Tensor

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        self.center = 0.9 * self.center + 0.1 * logits.detach().mean()
        return logits


class _Attention(nn.Module):
    """Attends to its input, with a query that all networks share."""

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(2).transpose(1, 2)
        query = torch.linspace(-1, 1, 4, dtype=x.dtype).expand(len(x), 1, -1)
        mixed = F.scaled_dot_product_attention(query, values, values, scale=0.7)
        return mixed.transpose(1, 2)[..., None]


@pytest.mark.parametrize(
    ("network", "stacking"),
    [
        (_Odd(), Stacking.FOLDED),
        (_Odd(nn.GroupNorm(2, 4)), Stacking.FOLDED),
        (_Odd(nn.Softmax(dim=1)), Stacking.VMAP),  # its last layer is all zeros, to hide that
        (_Odd(nn.LocalResponseNorm(3)), Stacking.VMAP),  # mixes neighbours, by 1e-4
        (_Odd(nn.LayerNorm([4, 6, 6])), Stacking.VMAP),
        (_Odd(_Attention()), Stacking.VMAP),
        (_Scaled(), Stacking.VMAP),
    ],
)
def test_the_way_to_stack_is_one_that_works(network: nn.Module, stacking: Stacking) -> None:
    assert choose_stacking(network, (1, 8, 8)) is stacking


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (_Odd(nn.Dropout(1e-9)), "draws random numbers"),
        (_Forgetful(), "different results .* than alone"),
    ],
)
def test_networks_that_cannot_be_stacked(network: nn.Module, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{type(network).__name__}.* {reason}"):
        choose_stacking(network, (1, 8, 8))


def test_the_probe_measures_until_larger_packs_are_no_faster() -> None:
    recipes = [quantized(seed=seed, model=MLP(hidden=(16,))) for seed in range(9)]
    assert (
        measure_packs(recipes, trials=9).note
        == "larger packs were not measured, because training is short"
    )
    times = measure_packs(recipes, seconds=0.05, trials=10**6)
    assert {1, 3} <= times.seconds.keys() <= {1, 3, 9}
    assert times.best in (1, 3, 9)
    broken = [replace(recipe, model=Dropping()) for recipe in recipes]
    assert "draws random numbers" in measure_packs(broken, trials=10**6).note
    assert str(times).startswith("1: 1.00, 3: ")
    assert PackTimes({1: 1.0, 3: 0.97, 9: 1.1}).best == 1
    assert PackTimes({1: 1.0, 3: 0.7, 9: 0.6}, "27 do not fit").best == 9


def test_steps_of_short_and_fast_epochs_are_timed() -> None:
    """Two steps an epoch, many of them in the time between two pauses."""
    recipe = quantized(model=MLP(hidden=(2,)), batch_size=100, epochs=10_000)
    assert 0 < seconds_a_step(PackedRun([recipe]), 0.01) < 1


@pytest.mark.skipif("QUANTLAB_CHAOS" not in os.environ, reason="of `make chaos`")
@pytest.mark.slow
def test_accuracies_over_seeds_are_the_same() -> None:
    """In float32, where single trials differ by a point or so: the mean, to half a point."""
    decay = StepDecay(0.1, milestones=(8, 10))
    quantization = Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear((-1.0, -0.3, 0.3, 1.0)),
        sharpness=Linear(0.1),
    )
    recipes = [
        Recipe(
            model=ConvNet(width=12),
            dataset=Digits(),
            optimizer=OptimizerSpec(learning_rate=decay, options={"momentum": 0.9}),
            quantization=quantization,
            epochs=12,
            batchnorm_epochs=4,
            batch_size=64,
            seed=seed,
        )
        for seed in range(16)
    ]
    in_packs = [result.outcome.test_accuracy for result in packed(recipes[:8])]
    in_packs += [result.outcome.test_accuracy for result in packed(recipes[8:])]
    one_by_one = [alone(recipe).outcome.test_accuracy for recipe in recipes]
    assert sum(in_packs) / 16 == pytest.approx(sum(one_by_one) / 16, abs=0.005)
    assert sum(one_by_one) / 16 > 0.9


def test_metrics_are_summed_where_the_outputs_are() -> None:
    """Labels of files are on the CPU. Without a GPU, a device whose numbers cannot be read.

    To read the sums of all batches fails, as they are on that device, and nothing before it does.
    """
    recipe = method(0)
    images = recipe.dataset.load(Path("data")).validation
    sizes: list[int] = []

    class Elsewhere:
        def __call__(self, weights: Any, inputs: Tensor, execution: Any) -> Tensor:
            sizes.append(inputs.shape[1])
            return torch.zeros(*inputs.shape[:2], 10, device="meta")

        def train(self, mode: bool = True) -> None:
            pass

    class FirstLogit(TopAccuracy):
        def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs[:, 0]

    network: Any = Elsewhere()
    size = len(images) // 3
    with pytest.raises(NotImplementedError, match="no data"):
        stacked_metric(network, {}, images, recipe.dataset, FirstLogit(), count=2, batch_size=size)
    assert len(sizes) >= 3
    assert sum(sizes) == len(images)
