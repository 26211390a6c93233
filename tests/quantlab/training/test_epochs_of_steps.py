"""Epochs of a given number of gradient steps, which are sections of a stream of passes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError, TrainingRun
from quantlab.models.mlp import MLP
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.schedules import Constant, Linear
from quantlab.training.epoch import EpochInProgress
from tests.quantlab.packs.test_packs import alone, assert_alike, method, packed
from tests.quantlab.recipes import SGD, SMALL_DIGITS, small_recipe


def stream(num_images: int, length: int, epochs: int, seed: int = 3) -> Tensor:
    device = torch.device("cpu")
    orders = [
        EpochInProgress.start(seed, epoch, num_images, device, length=length).order
        for epoch in range(epochs)
    ]
    assert all(len(order) == length for order in orders)
    return torch.cat(orders)


@pytest.mark.parametrize(("num_images", "length"), [(10, 4), (10, 10), (7, 30), (13, 1), (1, 5)])
def test_every_image_occurs_once_in_a_pass(num_images: int, length: int) -> None:
    images = stream(num_images, length, epochs=-(-5 * num_images // length))
    passes = images[: 5 * num_images].view(5, num_images)
    assert all(torch.equal(one.sort().values, torch.arange(num_images)) for one in passes)
    if num_images > 5:
        assert len({tuple(one.tolist()) for one in passes}) == 5


def test_the_stream_is_the_same_wherever_epochs_end() -> None:
    whole = stream(11, 60, epochs=1)
    for length in (1, 4, 12, 20):
        assert torch.equal(stream(11, length, epochs=60 // length), whole)
    assert not torch.equal(stream(11, 60, epochs=1, seed=4), whole)


def test_a_network_does_not_depend_on_where_epochs_end() -> None:
    """Unless a schedule, the augmentation or a random layer does."""
    steady = replace(SGD, learning_rate=Constant(0.05))
    networks, losses = [], []
    for steps, epochs in ((12, 1), (4, 3), (1, 12)):
        run = TrainingRun(small_recipe(optimizer=steady, steps_per_epoch=steps, epochs=epochs))
        records = list(run)
        assert [record.step for record in records] == [steps * (e + 1) for e in range(epochs)]
        losses.append(sum(record.train_loss for record in records) / epochs)
        networks.append(run.final_weights())
    for other in networks[1:]:
        assert all(torch.equal(networks[0][name], other[name]) for name in other)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)


def test_schedules_and_both_stages_count_in_steps() -> None:
    recipe = replace(method(0, rho0=0.5), steps_per_epoch=3, epochs=2, batchnorm_epochs=2)
    run = TrainingRun(recipe)
    records = list(run)
    assert [record.step for record in records] == [3, 6, 9, 12]
    assert records[1].sharpness_after == Linear(0.5).at(6, 3) == 1.5
    assert run.outcome().steps == 12
    assert run.outcome().training_images == 320


def test_members_of_packs_equal_lone_runs() -> None:
    """Passes of 320 images end within the third epoch, batches are of 48."""
    recipes = [
        replace(one, steps_per_epoch=3, epochs=3, batch_size=48)
        for one in (method(0), method(1, quantizer=StochasticRounding()))
    ]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe), 1e-9)


def test_no_batch_is_smaller() -> None:
    """A pass of 201 images ends with a batch of one, which this network cannot normalize."""
    images = replace(SMALL_DIGITS, train_images=201)
    recipe = small_recipe(model=MLP(hidden=(8,)), dataset=images, batch_size=40, epochs=1)
    with pytest.raises(ConfigurationError, match="has one image"):
        TrainingRun(recipe)
    (record,) = TrainingRun(replace(recipe, steps_per_epoch=6))
    assert record.step == 6


@pytest.mark.parametrize("steps", [0, -1, 2.5, "10", True])
def test_the_number_of_steps_is_checked(steps: object) -> None:
    with pytest.raises(ConfigurationError, match=r"Recipe\.steps_per_epoch = .*must be"):
        small_recipe(steps_per_epoch=steps)
