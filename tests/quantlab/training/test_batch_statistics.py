"""Statistics of batch normalization that belong to hard weights, and a last batch of one image."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab import (
    Averaging,
    ConfigurationError,
    Point,
    Quantization,
    Recipe,
    Stage,
    TrainingRun,
    override,
)
from quantlab.models.convnet import ConvNet
from quantlab.models.mlp import MLP
from quantlab.packs import PackedRun
from quantlab.quantization_sets import QUATERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.training.batch_statistics import statistics_note
from quantlab.training.evaluation import accuracy
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.recipes import SGD, SMALL_DIGITS, quantized, small_recipe


def averaged(**changes: object) -> Recipe:
    quantization = Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(QUATERNARY),
        sharpness=Linear(0.05),
        averaging=Averaging(start_epoch=1),
        reestimate_batchnorm=True,
    )
    recipe = quantized(quantization=quantization, batchnorm_epochs=0)
    return replace(recipe, **changes)  # type: ignore[arg-type]


def statistics_by_hand(run: TrainingRun, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Of the first normalization of a `ConvNet`: means over the full batches of what each has."""
    size = run.recipe.batch_size
    batches = [*run.recipe.dataset.batches(run.splits.train, batch_size=size)]
    features = [
        F.conv2d(inputs, weights["conv1.weight"], weights.get("conv1.bias"), padding=1)
        for inputs, _ in batches
        if len(inputs) == size
    ]
    means = torch.stack([each.mean((0, 2, 3)) for each in features])
    variances = torch.stack([each.transpose(0, 1).flatten(1).var(1) for each in features])
    return means.mean(0), variances.mean(0)


def test_hard_weights_have_statistics_of_their_own() -> None:
    recipe = averaged()
    run, plain = (
        TrainingRun(recipe),
        TrainingRun(override(recipe, "quantization.reestimate_batchnorm", False)),
    )
    for one, other in zip(run, plain, strict=True):
        # Training does not notice, nor do the other points.
        assert one.train_loss == other.train_loss
        assert one.validation_accuracy_latent == other.validation_accuracy_latent
        assert one.validation_accuracy_proximal == other.validation_accuracy_proximal
    final, theirs = run.final_weights(), plain.final_weights()
    assert final["conv2.weight"].equal(theirs["conv2.weight"])
    mean, variance = statistics_by_hand(run, final)
    torch.testing.assert_close(final["bn1.running_mean"], mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final["bn1.running_var"], variance, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(final["bn1.running_mean"], theirs["bn1.running_mean"], rtol=0.01)
    # What is reported is what the final network gives.
    outcome = run.outcome()
    assert outcome.validation_accuracy == one.validation_accuracy_hard
    run.model.load_state_dict(final)
    assert accuracy(run.model, run.splits.test, run.recipe.dataset) == outcome.test_accuracy


def test_the_second_stage_begins_with_them() -> None:
    recipe = averaged(batchnorm_epochs=1)
    run = TrainingRun(recipe)
    records = iter(run)
    for _ in range(recipe.epochs):
        next(records)
    with run.weights_at(Point.HARD):
        expected = {name: value.clone() for name, value in run.model.state_dict().items()}
    state = run.state_dict()
    run.begin_epoch()
    assert run.stage is Stage.BATCHNORM
    assert all(value.equal(expected[name]) for name, value in run.model.state_dict().items())
    last = next(records)
    assert run.outcome().validation_accuracy == last.validation_accuracy_hard
    # The same from a checkpoint before it, and from one after it.
    for begun in (state, run.state_dict()):
        resumed = TrainingRun(recipe)
        resumed.load_state_dict(begun)
        list(resumed)
        ours, theirs = resumed.final_weights(), run.final_weights()
        assert all(value.equal(theirs[name]) for name, value in ours.items())


def test_an_average_without_statistics_of_its_own_is_told_of() -> None:
    own = averaged().quantization
    model = ConvNet(width=4).build(num_classes=10, num_channels=1)
    assert own is not None
    others = replace(own, reestimate_batchnorm=False)
    assert "quantization.reestimate_batchnorm = True" in statistics_note(model, others)
    assert statistics_note(torch.nn.Linear(2, 2), others) == ""  # nothing is normalized
    for quantization in (own, replace(others, averaging=None), None):
        assert statistics_note(model, quantization) == ""


def test_packs_agree() -> None:
    recipes = [averaged(seed=0), averaged(seed=1), replace(averaged(), seed=2)]
    recipes[2] = override(recipes[2], "quantization.reestimate_batchnorm", False)
    pack = PackedRun(recipes)
    hard = [
        event.record.validation_accuracy_hard
        for event in pack
        if event.record is not None and event.record.epoch == recipes[0].epochs
    ]
    assert hard == [run.outcome().validation_accuracy for run in pack.members]


def test_a_last_batch_of_one_image_is_refused_where_it_cannot_be_normalized() -> None:
    images = replace(SMALL_DIGITS, train_images=201)
    recipe = small_recipe(model=MLP(hidden=(8,)), dataset=images, batch_size=40)
    for trained in (recipe, replace(recipe, batch_size=1)):
        with pytest.raises(ConfigurationError, match=r"batch_size = .* of 201 .* has one image"):
            TrainingRun(trained)
    with pytest.raises(ConfigurationError, match="has one image"):
        PackedRun([recipe, replace(recipe, seed=1)])
    # Pixels of one image are enough for a convolution's normalization.
    run = TrainingRun(replace(recipe, model=ConvNet(width=4), epochs=1))
    assert int(run.model.get_buffer("bn1.num_batches_tracked")) == 0
    (record,) = run
    assert record.step == 6
    assert TrainingRun(replace(recipe, dataset=SMALL_DIGITS, optimizer=SGD)).steps_per_epoch == 5
