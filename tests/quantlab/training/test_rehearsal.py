"""A rehearsal finds networks, optimizers and schedules that would make trials fail."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    OptimizerSpec,
    Quantizer,
    Recipe,
    TrainingRun,
    WeightGroup,
    fingerprint,
    override,
)
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.base import Dimensions
from quantlab.datasets.digits import Digits
from quantlab.models import ModelSpec
from quantlab.models.mlp import MLP
from quantlab.optimizer_spec import ParameterGroup
from quantlab.packs import PackedRun
from quantlab.papers.newer_methods import NORMAL_MAP
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.learned_step import LearnedStep
from quantlab.schedules import (
    Constant,
    Cosine,
    Linear,
    OneCycle,
    Polynomial,
    Product,
    Ramp,
    Schedule,
    Sequential,
    Staircase,
)
from quantlab.training.rehearsal import rehearse, rehearse_schedules
from quantlab.update_rules import POST_TRAINING
from tests.quantlab.recipes import SMALL_DIGITS, quantized, small_recipe

DIGITS = Dimensions(10, (1, 8, 8))


@dataclass(frozen=True)
class Built(ModelSpec):
    """A network of a test."""

    make: Callable[[int], Any]

    def build(self, *, num_classes: int, num_channels: int) -> Any:
        return self.make(num_classes)


class Net(nn.Module):
    """A linear layer, and something done to what it gives."""

    def __init__(self, after: Callable[[Tensor], Any], outputs: int = 10, **fields: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(64, outputs, **fields)
        self.after = after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.fc(x.flatten(1)))


def fails(num_classes: int) -> nn.Module:
    raise RuntimeError("cannot\nbuild")


def frozen(num_classes: int) -> nn.Module:
    return Net(lambda y: y).requires_grad_(False)


def needs_colour(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, num_classes))


NETWORKS: dict[str, tuple[Callable[[int], Any], str]] = {
    "raises": (fails, r"build raised RuntimeError: cannot build \(.*in fails\)"),
    "None": (lambda n: None, "build returned NoneType; must return a torch.nn.Module"),
    "a function": (lambda n: lambda x: x, "build returned function"),
    "lazy": (
        lambda n: nn.Sequential(nn.Flatten(), nn.LazyLinear(n)),
        r"1\.weight of a LazyLinear has no shape",
    ),
    "a tuple": (lambda n: Net(lambda y: (y, y)), r"forward returned a tuple for 2 images"),
    "a scalar": (lambda n: Net(torch.sum), r"forward returned shape \(\)"),
    "more classes": (lambda n: Net(lambda y: y, 50), r"returned shape \(2, 50\).*of 10 classes"),
    "fewer classes": (lambda n: Net(lambda y: y, 5), r"returned shape \(2, 5\)"),
    "integers": (lambda n: Net(lambda y: y.long()), r"a step with SGD .* raised "),
    "detached": (lambda n: Net(torch.detach), r"raised RuntimeError: .*grad"),
    "a wrong layer": (needs_colour, r"inputs of shape \(1, 8, 8\) raised RuntimeError: .*channels"),
    "frozen": (frozen, "leaves no layer to quantize that the model has not frozen"),
    "parametrized": (
        lambda n: nn.Sequential(
            nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, n))
        ),
        r"1\.weight: is computed by a parametrization",
    ),
}


@pytest.mark.parametrize("fault", NETWORKS)
def test_faulty_networks_are_refused(fault: str) -> None:
    make, says = NETWORKS[fault]
    recipe = quantized(model=Built(make), batchnorm_epochs=0)
    state = torch.get_rng_state()
    with pytest.raises(ConfigurationError, match=rf"^model Built: .*{says}") as raised:
        rehearse(recipe, DIGITS)
    assert "\n" not in str(raised.value)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_for_another_device_need_not_run_here() -> None:
    def needs_gpu(num_classes: int) -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
        network.register_forward_pre_hook(lambda layer, images: torch.zeros(1, device="cuda"))
        return network

    if not torch.cuda.is_available():
        rehearse(quantized(model=Built(needs_gpu)), DIGITS, runs_here=False)
    with pytest.raises(
        ConfigurationError, match=r"expected input\[2, 1, 8, 8\] to have 3 channels"
    ):
        rehearse(quantized(model=Built(needs_colour)), DIGITS, runs_here=False)
    with pytest.raises(ConfigurationError, match="forward returned a tuple"):
        rehearse(quantized(model=Built(lambda n: Net(lambda y: (y,)))), DIGITS, runs_here=False)


def test_something_must_be_left_to_train_in_each_stage() -> None:
    bare = quantized(model=Built(lambda n: Net(lambda y: y, bias=False)))
    for begin in (lambda recipe: rehearse(recipe, DIGITS), TrainingRun):
        with pytest.raises(ConfigurationError, match=r"batchnorm_epochs = 2: must be 0, because"):
            begin(bare)
        with pytest.raises(ConfigurationError, match="no trainable parameter"):
            begin(small_recipe(model=Built(frozen)))
    rehearse(replace(bare, batchnorm_epochs=0), DIGITS)


def test_outputs_of_the_wrong_number_are_not_trained() -> None:
    run = TrainingRun(small_recipe(model=Built(lambda n: Net(lambda y: y, 50))))
    with pytest.raises(ConfigurationError, match=r"Net\.forward returned shape \(32, 50\)"):
        next(iter(run))


@pytest.mark.parametrize("algorithm", [torch.optim.LBFGS, torch.optim.Adam, torch.optim.Rprop])
def test_any_optimizer_is_rehearsed(algorithm: type[torch.optim.Optimizer]) -> None:
    spec = OptimizerSpec(algorithm=algorithm, learning_rate=Constant(0.01))
    rehearse(quantized(optimizer=spec), DIGITS)


def test_optimizers_that_refuse_their_options_are_named() -> None:
    for options in ({"foreach": True, "fused": True}, {"momentum": "high"}, {"lr": "much"}):
        with pytest.raises(
            ConfigurationError, match=r"OptimizerSpec\.options = .* must be keyword arguments"
        ):
            OptimizerSpec(learning_rate=Constant(0.1), options=options)
    for options in ([("momentum", 0.9)], {1: 2}):
        with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.options .*must be a mapping"):
            OptimizerSpec(learning_rate=Constant(0.1), options=options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Own(Schedule):
    """A schedule of a test."""

    of: Callable[[int], Any]

    def at(self, step: int, steps_per_epoch: int) -> Any:
        return self.of(step)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -0.1, None, "0.1", torch.ones(2), np.nan, 1j], ids=repr
)
@pytest.mark.parametrize(
    "path", ["optimizer.learning_rate", "quantization.sharpness", "quantization.averaging.weight"]
)
def test_schedules_that_give_no_number_are_refused(value: object, path: str) -> None:
    from quantlab.recipe import Averaging

    recipe = override(quantized(), "quantization.averaging", Averaging())
    recipe = override(recipe, path, Own(lambda step: 0.1 if step < 14 else value))
    with pytest.raises(
        ConfigurationError, match=rf"{path} = Own.* returned .* at step 14; must return"
    ):
        rehearse_schedules(recipe)


def test_an_error_of_a_schedule_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"sharpness = .*raised ZeroDivisionError"):
        rehearse_schedules(override(quantized(), "quantization.sharpness", Own(lambda step: 1 / 0)))


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.tensor, np.array])
def test_schedules_may_give_numbers_of_any_kind(kind: Callable[[float], Any]) -> None:
    def recipe(of: Callable[[int], Any]) -> Recipe:
        changed = override(quantized(epochs=1), "quantization.sharpness", Own(of))
        return override(changed, "optimizer.learning_rate", Own(of))

    (record, *_), (plain, *_) = (
        list(TrainingRun(recipe(of))) for of in (lambda step: kind(0.125), lambda step: 0.125)
    )
    assert type(record.sharpness) is type(record.learning_rate) is float
    assert replace(record, seconds=0) == replace(plain, seconds=0)


class Signal(nn.Module):
    """Rows of a digit as channels of a signal."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.norm(self.conv(x)).relu().flatten(1))


@dataclass(frozen=True, kw_only=True)
class Signals(Digits):
    """Digits without an axis of channels."""

    mean: tuple[float, ...] = tuple(channel / 10 for channel in range(8))
    std: tuple[float, ...] = (0.5,) * 8

    @property
    def num_channels(self) -> int:
        return 8

    def read(self, data_dir: Any) -> Any:
        train, test, num_classes = super().read(data_dir)
        train, test = (replace(images, pixels=images.pixels[:, 0]) for images in (train, test))
        return train, test, num_classes


def test_signals_are_trained_alone_and_in_packs(tmp_path: Any) -> None:
    dataset = Signals(train_images=64, validation_images=20, test_images=20)
    assert dataset.dimensions is None
    found = dataset.find_dimensions(tmp_path)
    assert found == Dimensions(10, (8, 8))
    recipe = quantized(model=Built(Signal), dataset=dataset, epochs=1, batchnorm_epochs=1)
    rehearse(recipe, found)
    assert len(list(TrainingRun(recipe))) == 2
    splits = dataset.load(tmp_path)
    (inputs, _), *_ = dataset.batches(splits.train, batch_size=4)
    pixels = splits.train.pixels[:4] / 255
    expected = (pixels - torch.tensor(dataset.mean)[:, None]) / 0.5
    torch.testing.assert_close(inputs, expected)
    pack = PackedRun([recipe, replace(recipe, seed=1)])
    assert sum(len(events) for events in pack.train()) == 4


def test_recipes_with_lists_in_their_fields_are_trained() -> None:
    @dataclass(frozen=True)
    class Stack(ModelSpec):
        hidden: list[int]

        def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
            sizes = [*self.hidden, 4]
            return MLP(hidden=tuple(sizes)).build(
                num_classes=num_classes, num_channels=num_channels
            )

    @dataclass(frozen=True)
    class Listed(PiecewiseLinear):
        notes: Any = ()

    @dataclass(frozen=True, kw_only=True)
    class Some(Digits):
        notes: Any = ()

    dataset = Some(**(vars(SMALL_DIGITS) | {"notes": [1]}))
    recipe = override(quantized(epochs=1), "quantization.quantizer", Listed(notes=[1, 2]))
    recipe = replace(recipe, model=Stack([6]), dataset=dataset, batchnorm_epochs=0)
    run = TrainingRun(recipe)
    assert len(run.optimizer.groups) == 1
    assert len(list(run)) == 1
    pack = PackedRun([recipe, override(recipe, "quantization.quantizer", Listed(notes=[3]))])
    assert sum(len(events) for events in pack.train()) == 2


@dataclass(frozen=True)
class Table(Schedule):
    """A value of each epoch."""

    values: tuple[float, ...]

    def at(self, step: int, steps_per_epoch: int) -> float:
        return self.values[step // steps_per_epoch]


def grouped(own: Schedule | None, quantizer: Quantizer = PiecewiseLinear()) -> Recipe:  # noqa: B008
    group = WeightGroup(layers=("conv2",), quantizer=quantizer, sharpness=own)
    return override(quantized(), "quantization.groups", (group,))


def test_the_sharpness_after_the_last_step_is_tried() -> None:
    """It is used for the weights after that step, but not in the second stage."""
    short, long = Table((0.1, 0.2, 0.3)), Table((0.1, 0.2, 0.3, 0.4))
    sharpness = "quantization.sharpness"
    for recipe, field in (
        (override(quantized(), sharpness, short), sharpness),
        (override(quantized(batchnorm_epochs=0), sharpness, short), sharpness),
        (override(quantized(POST_TRAINING), sharpness, short), sharpness),
        (grouped(short), "quantization.groups.0.sharpness"),
    ):
        says = rf"^{field} = .*IndexError.* at step 21; the weights after the last step are mapped"
        with pytest.raises(ConfigurationError, match=says):
            rehearse_schedules(recipe)
        with pytest.raises(ConfigurationError, match=r"IndexError.* at step 21; the weights after"):
            TrainingRun(recipe)
    nearest = override(quantized(), "quantization.quantizer", Nearest())
    for recipe in (
        override(quantized(), sharpness, long),
        override(quantized(), "quantization.step_scale", short),
        override(nearest, sharpness, short),
        grouped(short, Nearest()),
    ):
        rehearse_schedules(recipe)
        assert len(list(TrainingRun(recipe))) == 5


def test_a_pull_that_exceeds_1_in_between_is_found_before_training() -> None:
    """With a warm-up, it is largest at the end of an epoch in the middle."""
    rate = Cosine(0.1, epochs=30, warmup_epochs=3)
    for gamma, is_refused in ((0.0999, True), (0.1001, False)):
        recipe = quantized(epochs=30, batchnorm_epochs=0)
        quantization = NORMAL_MAP.quantization(
            TERNARY, gamma, learning_rate=rate, epochs=30, steps_per_epoch=7
        )
        recipe = replace(recipe, quantization=quantization)
        if not is_refused:
            rehearse_schedules(recipe)
            TrainingRun(recipe)
            continue
        with pytest.raises(ConfigurationError, match=r"pull = .*returned 1\.001 at step 20; must"):
            rehearse_schedules(recipe)
        with pytest.raises(ConfigurationError, match=r"returned 1\.001 at step 20; must return"):
            TrainingRun(recipe)
    recipe = override(quantized(), "quantization.pull", Own(lambda step: 1.5 if step == 9 else 0.5))
    with pytest.raises(ConfigurationError, match=r"returned 1\.5 at step 9; must return"):
        TrainingRun(recipe)


GROWTH = Staircase(1.0, 1.1, 1)
"""More than the range of floats after 7,448 steps."""


@pytest.mark.parametrize(
    ("path", "quantizer", "schedule"),
    [
        ("sharpness", PiecewiseLinear(TERNARY), GROWTH),
        ("pull", Nearest(TERNARY), Linear(1 / 7000, period=1)),
        ("step_scale", PiecewiseLinear(TERNARY), GROWTH),
    ],
)
@pytest.mark.parametrize("says", ["steps_per_epoch", "train_images", "nothing"])
def test_schedules_are_asked_for_steps_that_training_has(
    says: str, path: str, quantizer: Quantizer, schedule: Schedule
) -> None:
    recipe = quantized(epochs=100, batchnorm_epochs=0)
    for field, value in (("quantizer", quantizer), ("sharpness", 0.1), (path, schedule)):
        recipe = override(recipe, f"quantization.{field}", value)
    images = None if says == "nothing" else 96 if says == "train_images" else 10_000
    dataset = replace(SMALL_DIGITS, train_images=images)
    recipe = replace(recipe, dataset=dataset, batch_size=32)
    if says == "steps_per_epoch":
        recipe = replace(recipe, steps_per_epoch=3)
    rehearse_schedules(recipe)
    rehearse(recipe, DIGITS)
    if says == "train_images":
        TrainingRun(recipe)
        many = replace(recipe, batch_size=1)
        with pytest.raises(ConfigurationError, match=rf"quantization.{path}"):
            rehearse_schedules(many)
    with pytest.raises(ConfigurationError, match=rf"quantization.{path} = .*IndexError"):
        rehearse_schedules(override(recipe, f"quantization.{path}", Table((0.1, 0.2))))


SHORT_RATES = [
    (Product((Cosine(0.1, 2), Constant(1.0))), "Cosine.epochs = 2: must be at least 5, the epochs"),
    (OneCycle(0.1, 2, end=0), "OneCycle.epochs = 2: must be at least 5, the epochs of the recipe"),
    (
        Sequential((Cosine(0.1, 1), Constant(0.1)), (3,)),
        "Cosine.epochs = 1: must be at least 3, the epochs of its part, because the learning rate",
    ),
    (
        Sequential((0.1, Product((Polynomial(1.0, 1), OneCycle(0.1, 5)))), (3,)),
        "Polynomial.epochs = 1: must be at least 2, the epochs of its part",
    ),
]


@pytest.mark.parametrize(("rate", "says"), SHORT_RATES)
def test_a_learning_rate_that_is_0_in_its_last_epochs_is_refused_before_training_only(
    rate: Schedule, says: str
) -> None:
    recipe = override(quantized(epochs=3, batchnorm_epochs=2), "optimizer.learning_rate", rate)
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        rehearse(recipe, DIGITS)


@pytest.mark.parametrize(
    "rate",
    [
        Product((Cosine(0.1, 5), Ramp(1.0, start=2, end=3))),
        OneCycle(0.1, 5, end=0),
        OneCycle(0.1, 2, rise=1.0, end=0),
        OneCycle(0.1, 2),
        Sequential((Cosine(0.1, 3), Constant(0.0)), (3,)),
        Sequential((Cosine(0.1, 5), Constant(0.1)), (9,)),
        Polynomial(0.1, 2, end=0.01),
        Constant(0.0),
    ],
)
def test_other_learning_rates_are_not_refused(rate: Schedule) -> None:
    recipe = quantized(epochs=3, batchnorm_epochs=2)
    rehearse(override(recipe, "optimizer.learning_rate", rate), DIGITS)


def test_an_optimizer_that_does_not_fit_is_named() -> None:
    learned = override(quantized(), "quantization.scale", LearnedStep())
    groups = (ParameterGroup(parameters=("*.bias",), options={"tolerance_grad": 0.1}),)
    muon = OptimizerSpec(algorithm=torch.optim.Muon, learning_rate=0.1)
    lbfgs = OptimizerSpec(algorithm=torch.optim.LBFGS, learning_rate=0.1)
    for recipe, says in (
        (replace(quantized(), optimizer=muon), "OptimizerSpec.algorithm = Muon: must be an op"),
        (replace(learned, optimizer=lbfgs), "quantization.scale: learned numbers need an opt"),
        (
            replace(quantized(), optimizer=replace(lbfgs, groups=groups)),
            "optimizer.groups: parameters with options of their own need an optimizer with group",
        ),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(says)):
            rehearse(recipe, DIGITS)
        with pytest.raises(ConfigurationError, match=re.escape(says)):
            TrainingRun(recipe)

    @dataclass(frozen=True)
    class Matrix(ModelSpec):
        def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes, bias=False))

    matrix = quantized(model=Matrix(), optimizer=muon, epochs=1, batchnorm_epochs=0)
    assert len(list(TrainingRun(matrix))) == 1
    with pytest.raises(ConfigurationError, match=r"options = .'momentum': -1.:"):
        replace(muon, options={"momentum": -1})


def test_settings_without_an_effect_are_refused_before_training_only() -> None:
    """Recipes of finished trials may have them."""
    options = {"lr": 0.001, "momentum": 0.9}
    spec = OptimizerSpec(learning_rate=Constant(0.05), options=options)
    says = r"OptimizerSpec\.options = \{'lr': 0\.001.*'lr', which has no effect; remove it, and set"
    with pytest.raises(ConfigurationError, match=says):
        rehearse(quantized(optimizer=spec), DIGITS)
    augmented = replace(SMALL_DIGITS, augmentation=CropFlip(flip="no"))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"CropFlip\.flip = 'no': must be True or False"):
        rehearse(quantized(dataset=augmented), DIGITS)
    for flip in (True, False, 1, np.bool_(False)):
        known = replace(SMALL_DIGITS, augmentation=CropFlip(flip=flip))  # type: ignore[arg-type]
        rehearse(quantized(dataset=known), DIGITS)
    without = replace(spec, options={"momentum": 0.9})
    with_lr, plain = (
        TrainingRun(quantized(optimizer=one, epochs=1, batchnorm_epochs=0))
        for one in (spec, without)
    )
    assert [record.train_loss for record in with_lr] == [record.train_loss for record in plain]
    assert fingerprint(with_lr.recipe) != fingerprint(plain.recipe)
