"""Steps that are recorded once and replayed on the CPU, as a CUDA graph does on a GPU."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from quantlab import ParameterGroup, Recipe
from quantlab.execution import DEFAULT_EXECUTION
from quantlab.models.resnet import ResNet
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from quantlab.packs.stack import Stack
from quantlab.quantizers.growth import Power
from quantlab.quantizers.knots import Half, Knots
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.tanh import Tanh
from quantlab.recipe import Averaging, MovingAverage
from quantlab.schedules import Linear, StepDecay
from quantlab.update_rules import POST_TRAINING, PROX_QUANT, REVERSE_PROX_CONNECT
from tests.quantlab.operations import Operations
from tests.quantlab.packs.test_packs import (
    LIFTED_STEPS,
    OTHER_SGD,
    STEPS_OF_ALL_KINDS,
    STEPS_PER_EPOCH,
    Choosy,
    ChoosySoftmax,
    Double,
    OfNumbers,
    method,
)
from tests.quantlab.recipes import SGD

CHUNK_STEPS, PAUSE_STEPS = STEPS_PER_EPOCH - 2, 2 * STEPS_PER_EPOCH - 3
"""Neither divides an epoch."""


class Recording(Operations):
    """Keeps all operations with their tensors, and computes them again on these tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(func)
        assert not name.startswith("aten._local_scalar_dense"), "a step looks at a number"
        assert not name.startswith("aten.lift_fresh"), "a step makes a tensor of Python numbers"
        result = func(*args, **kwargs)
        tensors = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        self.operations.append((func, args, kwargs, tensors))
        return result

    @torch.no_grad()
    def play(self) -> None:
        for func, args, kwargs, results in self.operations:
            given = {id(one) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
            again = [one for one in tree_leaves(func(*args, **kwargs)) if isinstance(one, Tensor)]
            for old, new in zip(results, again, strict=True):
                if id(old) not in given and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record(step: Callable[[], None]) -> Callable[[], None]:
    """Unlike a CUDA graph it also does the operations, so the first time there is nothing left."""
    recording, is_first = Recording(), True
    with recording:
        step()

    def again() -> None:
        nonlocal is_first
        if not is_first:
            recording.play()
        is_first = False

    return again


def trained(
    recipes: list[Recipe], monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[list[Any], list[Mapping[str, Tensor]], list[Stack]]:
    stacks = []

    def make(*args: Any) -> Stack:
        stacks.append(Stack(*args, **settings))
        return stacks[-1]

    monkeypatch.setattr("quantlab.packs.run.Stack", make)
    pack = PackedRun(recipes, execution=DEFAULT_EXECUTION, stacking=Stacking.FOLDED)
    records = [
        (event.member, event.record) for events in pack.train(PAUSE_STEPS) for event in events
    ]
    assert all(record is not None for _, record in records)
    same = [(place, replace(one, seconds=0)) for place, one in records if one is not None]
    return same, [run.final_weights() for run in pack.members], stacks


GROUPS = (
    ParameterGroup(parameters=("BatchNorm2d", "linear.*"), options={"weight_decay": 0.0}),
    ParameterGroup(parameters=("conv2.*",), learning_rate_factor=0.5),
)
KNOTS = Knots(rho=Power(1.0), varrho=Power(0.5), halves=(Half(0.2, 0.3, 0.4), Half(0.1, 0.0, 0.6)))
RECORDED = {
    "maps and rules": [
        method(0),
        method(1, rho0=0.3),
        method(2, PROX_QUANT, rho0=0.05),
        method(3, REVERSE_PROX_CONNECT, Tanh()),
        method(4, quantizer=Nearest()),
        method(5, POST_TRAINING, Nearest()),
        method(6, quantizer=PiecewiseLinear(varrho_scale=0.0), latent_bound=0.3),
        method(7, quantizer=KNOTS),
        method(8, optimizer=OTHER_SGD),
    ],
    "averages": [
        method(0, averaging=Averaging()),
        method(1, PROX_QUANT, averaging=Averaging(weight=Linear(1.0, period=1))),
        method(2, averaging=Averaging(weight=StepDecay(0.1, milestones=(3,)), start_epoch=2)),
        method(3),
        method(4, REVERSE_PROX_CONNECT, averaging=Averaging(start_epoch=4)),
    ],
    "pulls, backward maps and step scales": [
        recipe
        for recipe in STEPS_OF_ALL_KINDS
        if not isinstance(recipe.quantization.backward, OfNumbers)
        and not isinstance(recipe.quantization.quantizer, Choosy | StochasticRounding)
    ],
    "lifted weights": [
        recipe
        for recipe in LIFTED_STEPS
        if recipe.quantization and not isinstance(recipe.quantization.quantizer, ChoosySoftmax)
    ],
    "groups of parameters": [
        replace(recipe, optimizer=replace(recipe.optimizer, groups=GROUPS))
        for recipe in (method(0), method(1, PROX_QUANT), method(2, step_scale=Linear(0.5)))
    ],
    "a pack of one": [method(3, rho0=0.2)],
    "epochs of steps, clipped, with moving averages": [
        replace(
            method(seed, rule, optimizer=replace(SGD, clip_norm=0.5)),
            steps_per_epoch=13,
            epochs=2,
            moving_average=MovingAverage(decay=0.8, start_epoch=seed % 2),
        )
        for seed, rule in enumerate((PROX_QUANT, POST_TRAINING, PROX_QUANT))
    ],
    "a residual network": [
        replace(method(seed), model=Double(ResNet(depth=8, width=4)), epochs=2) for seed in range(2)
    ],
}


@pytest.mark.parametrize("recipes", RECORDED.values(), ids=RECORDED.keys())
def test_recorded_steps_are_the_steps(
    recipes: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit; with batches that are drawn ahead, a smaller last one, and both stages."""
    dataset = replace(recipes[0].dataset, train_images=32 * STEPS_PER_EPOCH - 10)
    recipes = [replace(recipe, dataset=dataset) for recipe in recipes]
    one_by_one = trained(recipes, monkeypatch)
    ahead = trained(recipes, monkeypatch, chunk_steps=CHUNK_STEPS)
    recorded = trained(recipes, monkeypatch, chunk_steps=CHUNK_STEPS, record=record)
    assert all(stack._recorded is not None for stack in recorded[2])
    for found in (ahead, recorded):
        assert found[0] == one_by_one[0]
        for own, other in zip(found[1], one_by_one[1], strict=True):
            assert all(torch.equal(value, other[name]) for name, value in own.items())


@pytest.mark.parametrize(
    "recipe",
    [
        method(0, POST_TRAINING, Nearest(), averaging=Averaging()),
        method(0, PROX_QUANT, StochasticRounding()),
        method(0, quantizer=Choosy()),
        method(0, backward=OfNumbers()),
    ],
)
def test_steps_that_need_the_cpu_are_not_recorded(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [
        replace(recipe, epochs=2, batchnorm_epochs=0),
        *[replace(recipe, epochs=2, batchnorm_epochs=0, seed=1)],
    ]
    expected = trained(recipes, monkeypatch)
    found = trained(recipes, monkeypatch, chunk_steps=4, record=record)
    assert all(stack._recorded is None for stack in found[2])
    assert found[0] == expected[0]
