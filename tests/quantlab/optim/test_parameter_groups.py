"""Groups of parameters with options of the optimizer of their own."""

import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    OptimizerSpec,
    ParameterGroup,
    Quantization,
    Recipe,
    TrainingRun,
)
from quantlab.models.convnet import ConvNet
from quantlab.packs import PackedRun
from quantlab.packs.compatibility import pack_key
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Cosine, Linear, Schedule, Staircase
from quantlab.training.epoch import EpochInProgress
from quantlab.update_rules import PROX_CONNECT, Point
from tests.quantlab.packs.test_packs import Double, DoubleDigits

GROUPS = (
    ParameterGroup(parameters=("BatchNorm2d", "*.bias"), options={"weight_decay": 0.0}),
    ParameterGroup(parameters=("conv2.*",), options={"momentum": 0.5}, learning_rate_factor=0.25),
)
OPTIONS = {"momentum": 0.9, "weight_decay": 0.05}


def recipe(
    groups: tuple[ParameterGroup, ...] = GROUPS,
    seed: int = 0,
    step_scale: Schedule | None = None,
    **optimizer: Any,
) -> Recipe:
    """5 steps an epoch; 20 steps of quantization, then 5 with frozen weights."""
    settings: dict[str, Any] = {"learning_rate": Cosine(0.1, epochs=6, warmup_epochs=1)}
    return Recipe(
        model=Double(ConvNet(width=4)),
        dataset=DoubleDigits(train_images=160, validation_images=20, test_images=20),
        optimizer=OptimizerSpec(groups=groups, **(settings | {"options": OPTIONS} | optimizer)),
        quantization=Quantization(
            rule=PROX_CONNECT,
            quantizer=PiecewiseLinear(BINARY),
            sharpness=Staircase(0.05, 1.5, 3, cap=0.6, after_first=True),
            exclude=("conv1",),
            include=("linear.bias",),
            step_scale=step_scale,
        ),
        epochs=4,
        batchnorm_epochs=1,
        batch_size=32,
        seed=seed,
    )


QUANTIZED = ("conv2.weight", "conv3.weight", "linear.weight", "linear.bias")


def soft_threshold(latent: Tensor, rho: float) -> Tensor:
    """L_rho^rho on {-1, 1}: ProxQuant's map, then clipping."""
    sign = torch.where(latent >= 0, 1.0, -1.0)
    distance = latent.abs() - 1
    moved = distance.sign() * (distance.abs() - rho).clamp(min=0)
    return (sign * (1 + moved)).clamp(-1, 1)


def beta(step: int) -> float:
    """The staircase, by repeated products: after step 0, and then after every third step."""
    value = 0.05
    for done in range(step):
        value = min(1.5 * value, 0.6) if done % 3 == 0 else value
    return value


def rate(step: int) -> float:
    """The cosine: 5 steps of warm-up, and 25 of the cosine."""
    if step < 5:
        return 0.1 * (step + 1) / 5
    return 0.05 * (1 + math.cos(math.pi * (step - 5) / 25))


@pytest.mark.parametrize("scale", [None, Linear(0.5, period=7)], ids=["", "step scale"])
def test_a_run_equals_plain_torch_code(scale: Schedule | None) -> None:
    """Staircase, cosine, groups and a quantized bias in float64, against a loop of its own."""
    run = TrainingRun(recipe(step_scale=scale))
    with run.weights_at(Point.LATENT):
        model = deepcopy(run.model)
    latents = {name: value.detach().clone() for name, value in model.named_parameters()}
    momenta = {name: torch.zeros_like(value) for name, value in latents.items()}
    step, records = 0, iter(run)
    for epoch in range(4):
        order = EpochInProgress.start(0, epoch, 160, torch.device("cpu")).order
        batches = run.recipe.dataset.batches(run.splits.train, batch_size=32, order=order)
        for inputs, labels in batches:
            for name, value in model.named_parameters():
                is_mapped = name in QUANTIZED
                seen = soft_threshold(latents[name], beta(step)) if is_mapped else latents[name]
                value.data = seen.clone()
                value.grad = None
            F.cross_entropy(model.train()(inputs), labels).backward()
            for name, value in model.named_parameters():
                assert value.grad is not None
                decays = not (name.startswith("bn") or name.endswith("bias"))
                of_conv2 = name == "conv2.weight"
                gradient = value.grad + (0.05 if decays else 0) * latents[name]
                momenta[name] = (0.5 if of_conv2 else 0.9) * momenta[name] + gradient
                scaled = scale is not None and name in QUANTIZED
                sigma = 0.5 + 0.5 * step / 7 if scaled else 1
                latents[name] -= rate(step) * sigma * (0.25 if of_conv2 else 1) * momenta[name]
            step += 1
        record = next(records)
        assert record.learning_rate == pytest.approx(rate(step - 1), rel=1e-14)
        assert record.sharpness == pytest.approx(beta(step - 1), rel=1e-14)
        with run.weights_at(Point.LATENT):
            for name, value in run.model.named_parameters():
                torch.testing.assert_close(value.detach(), latents[name], rtol=1e-12, atol=1e-12)
    assert step == 20
    # In the second stage, the groups hold for what is left to train.
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    next(records)
    assert run.final_weights()["conv2.weight"].abs().eq(1).all()
    assert not run.model.get_parameter("bn1.weight").equal(before["bn1.weight"])


ADAM = {"algorithm": torch.optim.Adam, "options": {"weight_decay": 0.05}}
ADAM_GROUPS = (GROUPS[0], replace(GROUPS[1], options={"betas": (0.8, 0.99)}))
ADAMAX = {"algorithm": torch.optim.Adamax, "options": {"weight_decay": 0.05}}


@pytest.mark.parametrize(
    ("groups", "options"),
    [(GROUPS, {}), (ADAM_GROUPS, ADAM), (ADAM_GROUPS, ADAMAX)],
    ids=["SGD", "Adam", "Adamax"],
)
def test_a_resumed_run_is_bit_identical(
    groups: tuple[ParameterGroup, ...], options: dict[str, Any]
) -> None:
    """With flat tensors and, for Adamax, with one per parameter; before each epoch and within."""
    trained = recipe(groups, **options)
    whole = TrainingRun(trained)
    losses = [record.train_loss for record in whole]
    run, found = TrainingRun(trained), []
    while not run.is_trained:
        for record in run.train(pause_steps=3):
            found += [] if record is None else [record.train_loss]
            break
        state, run = run.state_dict(), TrainingRun(trained)
        run.load_state_dict(state)
    assert found == losses
    pairs = zip(run.final_weights().values(), whole.final_weights().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("algorithm", [torch.optim.SGD, torch.optim.Adam])
def test_members_of_a_pack_have_groups_of_their_own(
    algorithm: type[torch.optim.Optimizer],
) -> None:
    """Which parameters are in which group is common; what the groups say is each member's own."""
    others = tuple(replace(group, options={}, learning_rate_factor=0.5) for group in GROUPS)
    own = GROUPS if algorithm is torch.optim.SGD else ADAM_GROUPS
    options = {"algorithm": algorithm}
    options |= {} if algorithm is torch.optim.SGD else {"options": {"weight_decay": 0.05}}
    recipes = [
        recipe(own, **options),
        recipe(own, seed=1, **options),
        recipe(others, **options),
        recipe(others, learning_rate=Constant(0.01), **options),
        recipe(own, step_scale=Linear(0.5), **options),
    ]
    pack = PackedRun(recipes)
    losses: list[list[float]] = [[] for _ in recipes]
    for event in pack:
        assert event.record is not None
        losses[event.member].append(event.record.train_loss)
    tolerance = 1e-12 if algorithm is torch.optim.SGD else 1e-8
    for member, found in zip(pack.members, losses, strict=True):
        alone = TrainingRun(member.recipe)
        expected = [record.train_loss for record in alone]
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
        for name, value in alone.final_weights().items():
            torch.testing.assert_close(
                member.final_weights()[name], value, rtol=tolerance, atol=tolerance
            )
    ungrouped = recipe((), **options)
    assert pack_key(recipes[0]) == pack_key(recipes[2]) != pack_key(ungrouped)
    with pytest.raises(ConfigurationError, match=r"optimizer\.groups\.parameters"):
        PackedRun([recipes[0], ungrouped])


def test_a_group_without_differences_changes_nothing() -> None:
    """As the torch optimizer is elementwise, it only takes more calls."""
    same = (ParameterGroup(parameters=("*.weight",)),)
    runs = [TrainingRun(recipe(groups)) for groups in ((), same)]
    for record, other in zip(*runs, strict=True):
        assert record.train_loss == other.train_loss
    first, second = (run.final_weights() for run in runs)
    assert all(first[name].equal(second[name]) for name in first)
    assert len(runs[0].optimizer.param_groups) == 1


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3)
        self.two.weight = self.one.weight


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            ("LayerNorm",),
            r"groups\[0\]\.parameters: 'LayerNorm' matches no parameter; must match a "
            r"name \(one\.weight, .*two\.bias\) or a type of layer \(Linear\)",
        ),
        (("one.weight",), r"one\.weight and two\.weight are one parameter, .* in one group"),
        (("*.weight", "Linear"), r"groups\[1\].*'Linear' matches one\.weight, .* in groups\[0\]"),
    ],
)
def test_patterns_that_do_not_fit_are_named(groups: tuple[str, ...], message: str) -> None:
    given = tuple(ParameterGroup(parameters=(pattern,)) for pattern in groups)
    spec = OptimizerSpec(learning_rate=Constant(0.1), groups=given)
    with pytest.raises(ConfigurationError, match=message):
        spec.members_of_groups(Tied())


def test_members_of_groups() -> None:
    model = Tied()
    both = ParameterGroup(parameters=("*.weight", "two.*"))
    spec = OptimizerSpec(learning_rate=Constant(0.1), groups=(both,))
    (members,) = spec.members_of_groups(model)
    assert [id(one) for one in members] == [id(model.one.weight), id(model.two.bias)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"options": {"weight_deca": 0.0}},
            r"groups\[0\]\.options = .*'weight_deca' must be one "
            r"of .*momentum.*weight_decay, the options of SGD",
        ),
        ({"options": {"lr": 0.1}}, r"'lr' must be one of .* set with learning_rate_factor"),
        ({"options": {"momentum": -1}}, r"groups\[0\]\.options = .* SGD accepts; it raised"),
        ({"options": 3}, r"ParameterGroup\.options = 3: must be a mapping"),
        ({"learning_rate_factor": -1}, r"learning_rate_factor = -1: must be a finite number >= 0"),
        ({"parameters": "*.bias"}, r"parameters = '\*\.bias': must be a sequence of patterns"),
        ({"parameters": ()}, r"ParameterGroup\.parameters = \(\): must have at least one pattern"),
    ],
)
def test_groups_that_are_not_possible_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recipe((ParameterGroup(**({"parameters": ("*.bias",)} | changes)),))
