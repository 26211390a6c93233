"""The selection of the best epoch on validation images, with final rounding."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError, OptimizerSpec, Quantization, Recipe, TrainingRun
from quantlab.datasets.digits import Digits
from quantlab.packs import PackedRun
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, Point
from tests.quantlab.recipes import quantized, small_recipe

FAST = OptimizerSpec(learning_rate=Constant(0.3), options={"momentum": 0.9})
"""A learning rate so high that accuracies go up and down."""


def best_of(recipe: Recipe) -> Recipe:
    return replace(recipe, select="best")


def method(rule: Any, quantizer: Any, **options: Any) -> Recipe:
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=Linear(0.05), **options)
    return quantized(quantization=quantization, optimizer=FAST, epochs=4)


RECIPES = {
    "PC": method(PROX_CONNECT, PiecewiseLinear(TERNARY)),
    "PQ, random": method(PROX_QUANT, StochasticRounding()),
    "post-training, recomputed statistics": method(
        POST_TRAINING, PiecewiseLinear(BINARY), reestimate_batchnorm=True
    ),
    "PC, averaged": method(PROX_CONNECT, PiecewiseLinear(BINARY), averaging=Averaging()),
    "full precision": small_recipe(optimizer=FAST, epochs=5),
}


def copied(run: TrainingRun) -> dict[str, Tensor]:
    point = Point.LATENT if run.recipe.quantization is None else Point.HARD
    with run.weights_at(point):
        return {name: value.clone() for name, value in run.model.state_dict().items()}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_network_is_that_of_the_first_best_epoch(recipe: Recipe) -> None:
    """Its weights are rounded and its statistics are its own; training is the same as without."""
    last, run = TrainingRun(recipe), TrainingRun(best_of(recipe))
    networks, accuracies = [], []
    for record, same in zip(run, last, strict=True):
        assert replace(record, seconds=0) == replace(same, seconds=0)
        networks.append(copied(run))
        accuracies.append(record.validation_accuracy_hard)
    best = accuracies.index(max(accuracies))
    outcome, end = run.outcome(), copied(run)
    assert outcome.selected_epoch == best + 1
    assert outcome.validation_accuracy == accuracies[best]
    found = run.final_weights()
    assert found.keys() == networks[best].keys()
    assert all(value.equal(networks[best][name]) for name, value in found.items())
    if quantization := recipe.quantization:
        assert set(found["conv1.weight"].unique().tolist()) <= set(quantization.quantizer.levels)
    # The run itself is where it was, and the network of the last epoch is another one.
    assert all(value.equal(end[name]) for name, value in copied(run).items())
    assert last.outcome().selected_epoch is None
    assert last.outcome().validation_accuracy == accuracies[-1]
    if best + 1 < len(accuracies):
        assert not found["bn1.running_mean"].equal(last.final_weights()["bn1.running_mean"])


def test_the_cases_above_select_epochs_that_are_not_the_last() -> None:
    selected = []
    for recipe in RECIPES.values():
        run = TrainingRun(best_of(recipe))
        list(run)
        selected.append(run.outcome().selected_epoch)
    assert sum(epoch != 6 for epoch in selected) >= 2


def test_of_equal_epochs_the_first_is_selected() -> None:
    recipe = best_of(
        quantized(dataset=Digits(train_images=200, validation_images=3, test_images=60), epochs=6)
    )
    run = TrainingRun(recipe)
    accuracies = [record.validation_accuracy_hard for record in run]
    assert accuracies.count(max(accuracies)) > 1
    assert run.outcome().selected_epoch == accuracies.index(max(accuracies)) + 1


def test_members_of_a_pack_select_their_own_epochs() -> None:
    recipes = [best_of(RECIPES["PC"]), RECIPES["PC"], best_of(replace(RECIPES["PC"], seed=1))]
    pack = PackedRun(recipes)
    records: list[list[float]] = [[] for _ in recipes]
    for event in pack:
        assert event.record is not None
        records[event.member].append(event.record.validation_accuracy_hard)
    for place, member in enumerate(pack.members):
        outcome, accuracies = member.outcome(), records[place]
        if member.recipe.select == "last":
            assert outcome.selected_epoch is None
            continue
        best = accuracies.index(max(accuracies))
        assert outcome.selected_epoch == best + 1
        assert outcome.validation_accuracy == pytest.approx(accuracies[best], abs=0.021)
        levels = member.final_weights()["conv1.weight"].unique()
        assert levels.tolist() == list(TERNARY)


def test_a_resumed_run_has_the_best_network_of_before() -> None:
    recipe = best_of(RECIPES["PC"])
    whole = TrainingRun(recipe)
    accuracies = [record.validation_accuracy_hard for record in whole]
    run = TrainingRun(recipe)
    records = iter(run)
    for _ in range(accuracies.index(max(accuracies)) + 1):
        next(records)
    resumed = TrainingRun(recipe)
    resumed.load_state_dict(run.state_dict())
    list(resumed)
    assert resumed.outcome() == whole.outcome()
    pairs = zip(resumed.final_weights().values(), whole.final_weights().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_choice_needs_images_to_choose_by() -> None:
    without = Digits(train_images=200, validation_images=0, test_images=60)
    message = r"select = 'best': must be 'last', because Digits\.validation_images is 0; hold out"
    with pytest.raises(ConfigurationError, match=message):
        best_of(small_recipe(dataset=without))
    on_test = replace(without, validation_split="test")
    run = TrainingRun(best_of(small_recipe(dataset=on_test, epochs=1)))
    list(run)
    assert run.outcome().validation_accuracy == run.outcome().test_accuracy
    with pytest.raises(ConfigurationError, match=r"select = 'first': must be 'last' or 'best'"):
        small_recipe(select="first")
