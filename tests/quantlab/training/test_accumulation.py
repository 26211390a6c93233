"""Gradients of a batch that are computed in parts."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from quantlab import ConfigurationError, Recipe, TrainingRun, fingerprint
from quantlab.models import ModelSpec
from quantlab.packs.compatibility import require_compatible
from quantlab.training.accumulation import accumulate, require_one_process
from quantlab.training.batch_statistics import parts_of_batches, require_one_image_fits
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.packs.test_packs import Double, DoubleDigits
from tests.quantlab.recipes import quantized, small_recipe

DIGITS = DoubleDigits(train_images=90, validation_images=20, test_images=20)
"""Three batches of 40, 40 and 10 images."""


@dataclass(frozen=True)
class TwoLayers(ModelSpec):
    """Two linear layers without normalization."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return self.between(num_classes, 64 * num_channels).double()

    def between(self, num_classes: int, size: int, *layers: nn.Module) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(size, 8), *layers, nn.ReLU(), nn.Linear(8, num_classes)
        )


@dataclass(frozen=True)
class Cumulative(TwoLayers):
    """Batch normalization whose statistics are means over all batches so far."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        norm = nn.BatchNorm1d(8, momentum=None)
        return self.between(num_classes, 64 * num_channels, norm).double()


@dataclass(frozen=True)
class Instances(ModelSpec):
    """Instance normalization that is evaluated with running statistics."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        norm = nn.InstanceNorm2d(4, track_running_stats=True)
        convolution = nn.Conv2d(num_channels, 4, 3, padding=1)
        last = nn.Linear(256, num_classes)
        return nn.Sequential(convolution, norm, nn.ReLU(), nn.Flatten(), last).double()


def recipe(**changes: Any) -> Recipe:
    settings = {"dataset": DIGITS, "batch_size": 40, "epochs": 2, "batchnorm_epochs": 1}
    return quantized(PROX_CONNECT, **settings | changes)


def trained(recipe: Recipe) -> tuple[list[float], dict[str, torch.Tensor]]:
    run = TrainingRun(recipe)
    return [record.train_loss for record in run], run.final_weights()


def assert_equal_results(one: Recipe, other: Recipe) -> None:
    (own_losses, own), (losses, weights) = trained(one), trained(other)
    assert own_losses == pytest.approx(losses, rel=1e-12)
    for name, value in weights.items():
        torch.testing.assert_close(own[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("parts", [2, 3, 40])
@pytest.mark.parametrize("model", [TwoLayers(), Instances()], ids=["none", "instances"])
def test_without_batch_normalization_it_is_the_whole_batch(model: ModelSpec, parts: int) -> None:
    """Also if a batch has fewer images than there are parts."""
    assert_equal_results(recipe(model=model, accumulation=parts), recipe(model=model))


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("model", [Double(small_recipe().model), Cumulative()], ids=["0.1", "mean"])
def test_with_batch_normalization_it_is_as_many_shards(model: ModelSpec, parts: int) -> None:
    """The running statistics, too, whose update has a fixed weight or that of a mean."""
    accumulated = recipe(model=model, accumulation=parts)
    assert_equal_results(accumulated, recipe(model=model, batchnorm_shards=parts))
    _, own = trained(accumulated)
    _, whole = trained(recipe(model=model))
    assert not all(torch.allclose(own[name], value) for name, value in whole.items())


def test_parts_are_evaluated_one_after_another_and_weighted_by_their_images() -> None:
    seen = []
    weight = nn.Parameter(torch.ones((), dtype=torch.float64))
    model = nn.Linear(1, 1)

    def mean_loss(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(inputs.tolist())
        return (weight * inputs).mean()

    inputs = torch.arange(5.0, dtype=torch.float64)
    loss = accumulate(model, mean_loss, inputs, torch.zeros(5), 3)
    assert seen == [[0.0], [1.0, 2.0], [3.0, 4.0]]
    assert weight.grad == loss == 2.0


def test_identity_and_limits() -> None:
    plain = small_recipe()
    assert fingerprint(plain) == fingerprint(replace(plain, accumulation=1))
    assert fingerprint(plain) != fingerprint(replace(plain, accumulation=2))
    assert parts_of_batches(plain) == ("batchnorm_shards", 1)
    assert parts_of_batches(replace(plain, accumulation=4)) == ("accumulation", 4)
    with pytest.raises(ConfigurationError, match=r"Recipe\.accumulation = 0: must be"):
        small_recipe(accumulation=0)
    with pytest.raises(ConfigurationError, match=r"accumulation = 33: must be at most .* = 32"):
        small_recipe(accumulation=33)
    with pytest.raises(ConfigurationError, match=r"shards = 2: must be 1 if Recipe\.accumulation"):
        small_recipe(accumulation=2, batchnorm_shards=2)
    with pytest.raises(ConfigurationError, match=r"Recipe\.accumulation = 2: must be 1 if 4 pro"):
        require_one_process(2, 4)
    with pytest.raises(ConfigurationError, match=r"pack: Recipe\.accumulation = 2: must be 1"):
        require_compatible([small_recipe(accumulation=2), small_recipe(seed=1, accumulation=2)])
    with pytest.raises(ConfigurationError, match=r"Recipe\.accumulation = 5: a part of some batch"):
        require_one_image_fits(
            nn.BatchNorm1d(3).train(), torch.zeros(1, 3), 45, 40, ("accumulation", 5)
        )


def test_a_resumed_step_needs_nothing_of_the_parts() -> None:
    small = recipe(model=Double(small_recipe().model), accumulation=2)
    run, again = TrainingRun(small), TrainingRun(small)
    steps = run.train(pause_steps=1)
    next(steps)
    again.load_state_dict(run.state_dict())
    rest = [record for record in again.train() if record is not None]
    assert [record.train_loss for record in rest] == [
        record.train_loss for record in steps if record is not None
    ]
