"""The number of waits for the device per epoch, which does not depend on the number of steps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import NonFiniteLossError, OptimizerSpec, Recipe, TrainingRun
from quantlab.backward_maps import LevelMagnitude
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from quantlab.packs.stack import Stack
from quantlab.quantization_sets import QUATERNARY
from quantlab.quantizers import Nearest, PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging, WeightGroup
from quantlab.scales import LearnedStep, LeastSquares, TernaryWeight, TrainedTernary
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_QUANT
from tests.quantlab.operations import Operations
from tests.quantlab.packs.test_packs import OTHER_SGD, method
from tests.quantlab.recipes import small_recipe

WAIT = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.equal",
    "aten._unique2",
    "aten.repeat_interleave.Tensor",
    "aten.bincount",
)
"""Operations after which a CPU waits for its GPU: it needs a number, or the size of a result."""


class Reads(Operations):
    """Counts the operations that would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(func)
        indices = args[1] if name.startswith("aten.index.Tensor") else ()
        by_mask = any(index is not None and index.dtype is torch.bool for index in indices)
        if name.startswith(WAIT) or by_mask:
            self.found[name] += 1
        return func(*args, **kwargs)


@contextmanager
def reads() -> Iterator[Counter[str]]:
    """Also those that no operation does."""
    counting = Reads()
    with pytest.MonkeyPatch.context() as patch, counting:
        for name in ("tolist", "cpu", "numpy"):
            original = getattr(Tensor, name)

            def counted(tensor: Tensor, *args: Any, of: str = name, do: Any = original) -> Any:
                counting.found[of] += 1
                return do(tensor, *args)

            patch.setattr(Tensor, name, counted)
        yield counting.found


def alone(recipe: Recipe) -> TrainingRun:
    """As on a GPU."""
    run = TrainingRun(recipe)
    run._looks_at_losses = False
    return run


def together(recipe: Recipe) -> PackedRun:
    return PackedRun([recipe, replace(recipe, seed=7)], stacking=Stacking.FOLDED)


def descending(size: Tensor) -> Tensor:
    """As on a GPU."""
    return size.sort(dim=-1, descending=True).values


RECIPES = [
    method(0),
    method(0, PROX_QUANT, StochasticRounding()),
    method(0, averaging=Averaging()),
    method(0, optimizer=OTHER_SGD),
    method(
        0,
        quantizer=PiecewiseLinear(QUATERNARY, varrho_scale=0, relative=True),
        scale=LeastSquares(per="channel"),
        groups=(
            WeightGroup(
                layers=("Linear",), quantizer=Nearest(), scale=TernaryWeight(two_sided=True)
            ),
        ),
    ),
    method(
        0,
        quantizer=Nearest(),
        scale=TrainedTernary(),
        backward=LevelMagnitude(),
        groups=(WeightGroup(layers=("Linear",), quantizer=Nearest(), scale=LearnedStep()),),
    ),
]


@pytest.mark.parametrize("make", [alone, together])
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_step_looks_at_a_number(
    recipe: Recipe, make: Callable[[Recipe], Iterable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of 9 steps looks at as many as one of 3; its end may."""
    like_a_gpu = partial(Stack, chunk_steps=2, record=lambda step: step)
    monkeypatch.setattr("quantlab.packs.run.Stack", like_a_gpu)
    monkeypatch.setattr("quantlab.scales.least_squares._descending", descending)
    found = []
    for images in (90, 90, 270):  # the first one also tries the map
        dataset = replace(recipe.dataset, train_images=images)
        one = replace(recipe, dataset=dataset, batch_size=30, epochs=1, batchnorm_epochs=1)
        run = make(one)
        with reads() as counted:
            for _ in run:
                pass
        found.append(counted)
    assert found[1] == found[2]
    assert found[1]  # at the end of the epoch there is something to look at


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("pauses", [None, 3])
def test_losses_that_are_read_later_are_the_same(recipe: Recipe, pauses: int | None) -> None:
    """To the bit, whether read at the end of an epoch or at pauses."""
    recipe = replace(recipe, epochs=2)
    runs = [TrainingRun(recipe), alone(recipe)]
    first, second = ([replace(one, seconds=0) for one in run.train(pauses) if one] for run in runs)
    assert first == second
    assert runs[0].last_loss == runs[1].last_loss
    assert runs[0].step == runs[1].step


@pytest.mark.parametrize("pauses", [None, 1, 4])
def test_a_loss_that_is_read_later_diverges_at_the_same_step(pauses: int | None) -> None:
    wild = small_recipe(optimizer=OptimizerSpec(learning_rate=Constant(1e30)))
    runs = [TrainingRun(wild), alone(wild)]
    errors = []
    for run in runs:
        with pytest.raises(NonFiniteLossError) as caught:
            list(run.train(pauses))
        errors.append(str(caught.value))
        assert caught.value.step == run.step > 0
    assert errors[0] == errors[1]
