"""Two processes that train a recipe together equal one, and end together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import (
    ConfigurationError,
    Distillation,
    NonFiniteLossError,
    OptimizerSpec,
    Quantization,
    Recipe,
    TrainingRun,
)
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.errors import LostProcessError
from quantlab.execution import Execution
from quantlab.mirror_maps.softmax import Softmax
from quantlab.packs import PackedRun
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging, MovingAverage
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from tests.quantlab.distributed.pairs import (
    TOGETHER,
    AsBuilt,
    Double,
    Failing,
    Noisy,
    distance,
    distance_of,
    pair,
    tensors_of,
)
from tests.quantlab.recipes import ADAM, quantized, small_recipe

IMAGES = Digits(
    train_images=97,
    validation_images=60,
    test_images=300,
    augmentation=CropFlip(padding=1, flip=False),
)
"""Batches of 31 end with one of 4, batches of 32 with one of a single image. The test images are
two batches."""

AVERAGED = Quantization(
    rule=PROX_CONNECT,
    quantizer=PiecewiseLinear(),
    sharpness=Linear(0.05),
    averaging=Averaging(start_epoch=1),
    reestimate_batchnorm=True,
)
LIFTED = Quantization(
    rule=PROX_CONNECT, quantizer=Softmax(TERNARY, beta=1.0), pull=0.1, step_scale=2.0
)
ROUNDED = Quantization(rule=PROX_QUANT, quantizer=StochasticRounding())


def recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "dataset": IMAGES,
        "model": Double(),
        "epochs": 2,
        "batchnorm_epochs": 1,
        "batch_size": 31,
    }
    return quantized(**(settings | changes))


CASES = {
    "SGD": recipe(),
    "Adam, and a teacher": recipe(optimizer=ADAM, distillation=Distillation(teacher=AsBuilt())),
    "a last batch of one image": recipe(batch_size=32),
    "2 shards": recipe(batchnorm_shards=2),
    "4 shards": recipe(batchnorm_shards=4),
    "averaged and reestimated": recipe(quantization=AVERAGED),
    "reestimated in shards": recipe(quantization=AVERAGED, batchnorm_shards=2, batchnorm_epochs=0),
    "the best epoch": recipe(quantization=AVERAGED, select="best"),
    "stochastic rounding": recipe(quantization=ROUNDED),
    "lifted, with a pull and a step scale": recipe(quantization=LIFTED, optimizer=ADAM),
    "full precision": recipe(quantization=None, batchnorm_epochs=0),
    "epochs of steps, clipped, with a moving average": recipe(
        optimizer=replace(quantized().optimizer, clip_norm=0.5),
        steps_per_epoch=4,
        moving_average=MovingAverage(decay=0.8, start_epoch=1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    """To 1e-9 of the largest entry of each tensor, in float64."""
    alone = TrainingRun(CASES[name])
    expected = list(alone)
    with pair(CASES[name], tmp_path) as together:
        records = list(together.run)
        outcome = together.run.outcome()
        weights = together.run.final_weights()
        assert together.last_words() == ""
    assert distance(together.run, alone) < 1e-9
    assert distance_of(weights, alone.final_weights()) < 1e-9
    for record, other in zip(records, expected, strict=True):
        assert record.train_loss == pytest.approx(other.train_loss, rel=1e-9)
        assert record.validation_accuracy_hard == other.validation_accuracy_hard
        assert record.validation_accuracy_latent == other.validation_accuracy_latent
        assert record.flip_rate == other.flip_rate
        assert record.flip_rate_median == other.flip_rate_median
    assert outcome == alone.outcome()


@pytest.mark.parametrize("optimizer", [quantized().optimizer, ADAM], ids=["SGD", "Adam"])
def test_in_float32_they_equal_one_up_to_rounding(optimizer: OptimizerSpec, tmp_path: Path) -> None:
    """To 1e-3 of the largest entry of each tensor, after 8 steps."""
    single = small_recipe(dataset=IMAGES, optimizer=optimizer, epochs=2, batch_size=31)
    alone = TrainingRun(single)
    expected = list(alone)
    with pair(single, tmp_path) as together:
        records = list(together.run)
    assert 0 < distance(together.run, alone) < 1e-3
    assert records[-1].train_loss == pytest.approx(expected[-1].train_loss, rel=1e-4)


WHOLE = recipe(optimizer=ADAM, quantization=ROUNDED, epochs=2)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, list[Tensor]]:
    """The last loss of two processes that nobody stops, and all tensors of their state."""
    with pair(WHOLE, tmp_path_factory.mktemp("whole")) as together:
        *_, last = together.run
        return last.train_loss, tensors_of(together.run.state_dict())


@pytest.mark.parametrize("steps", [2, 4, 6])
def test_a_stopped_run_goes_on_bit_for_bit(
    steps: int, uninterrupted: tuple[float, list[Tensor]], tmp_path: Path
) -> None:
    """Within an epoch, and at its end; the process that follows ends with the one that leads."""
    with pair(WHOLE, tmp_path) as first:
        training = first.run.train(pause_steps=1)
        while first.run.step < steps:
            next(training)
        state = first.run.state_dict()
        training.close()
        assert first.last_words() == ""
    with pair(WHOLE, tmp_path) as second:
        second.run.load_state_dict(state)
        records = list(second.run)
        end = second.run.state_dict()
    loss, expected = uninterrupted
    assert records[-1].train_loss == loss
    assert all(
        torch.equal(one, other) for one, other in zip(tensors_of(end), expected, strict=True)
    )
    alone = TrainingRun(WHOLE)  # which one process may continue, too
    alone.load_state_dict(state)
    list(alone)
    assert distance(alone, second.run) < 1e-9
    assert alone.executions == [TOGETHER, Execution()]
    assert not alone.executions[0].rounds_like(alone.executions[1])


def test_networks_with_dropout_stay_equal_and_repeat(tmp_path: Path) -> None:
    noisy = recipe(model=Noisy(), quantization=ROUNDED, epochs=2, batchnorm_epochs=0)
    losses = []
    for _ in range(2):
        with pair(noisy, tmp_path) as together:
            losses.append([record.train_loss for record in together.run])
    assert losses[0] == losses[1]


def test_divergence_is_that_of_all(tmp_path: Path) -> None:
    steep = OptimizerSpec(learning_rate=Constant(1e300))
    diverging = recipe(optimizer=steep, quantization=None, batchnorm_epochs=0)
    with pytest.raises(NonFiniteLossError) as expected:
        list(TrainingRun(diverging))
    with pair(diverging, tmp_path) as together:
        with pytest.raises(NonFiniteLossError) as found:
            list(together.run)
        assert together.last_words() == ""
    assert found.value.step == expected.value.step


def test_an_error_of_the_other_process_reaches_the_first(tmp_path: Path) -> None:
    failing = recipe(dataset=Failing(train_images=97, validation_images=60))
    with (
        pytest.raises(ConfigurationError, match=r"Failing\.at: an image cannot be read"),
        pair(failing, tmp_path) as together,
    ):
        list(together.run)
    assert together.last_words() == "ConfigurationError: Failing.at: an image cannot be read"


def test_an_error_before_training_reaches_the_first_process(tmp_path: Path) -> None:
    """Which has nobody to connect to."""
    failing = recipe(dataset=Failing(train_images=97, validation_images=60, how="read"))
    with pair(failing, tmp_path) as together:
        with pytest.raises(ConfigurationError, match=r"Failing\.how: the data is missing on this"):
            list(together.run)
        assert together.last_words().startswith("ConfigurationError: Failing.how: the data is")


def test_an_error_of_the_first_process_reaches_the_other(tmp_path: Path) -> None:
    failing = recipe(dataset=Failing(train_images=97, validation_images=60, in_other=False))
    with pair(failing, tmp_path) as together:
        with pytest.raises(ConfigurationError) as found:
            list(together.run)
        together.run.replicas.close(found.value)
        assert together.last_words() == "ConfigurationError: Failing.at: an image cannot be read"


def test_a_killed_process_is_noticed(tmp_path: Path) -> None:
    """At once, and not after the timeout of a message."""
    deadly = recipe(dataset=Failing(train_images=97, validation_images=60, how="kill"))
    with pair(deadly, tmp_path) as together:
        with pytest.raises(LostProcessError, match="a process of the trial was lost"):
            list(together.run)
        together.other.join(20)
        assert together.other.exitcode == -9


def test_numbers_of_processes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Execution\.replicas = 2: must be 1, "):
        TrainingRun(recipe(), execution=TOGETHER)
    with pytest.raises(ConfigurationError, match=r"Execution\.replicas = 2: must be 1 in a pack"):
        PackedRun([recipe(), recipe(seed=1)], execution=TOGETHER)
    with pytest.raises(ConfigurationError, match=r"pack: Recipe\.batchnorm_shards = 2: must be 1"):
        PackedRun([recipe(batchnorm_shards=2), recipe(batchnorm_shards=2, seed=1)])
    assert str(TOGETHER).endswith("threads=1,replicas=2")
    assert not TOGETHER.rounds_like(replace(TOGETHER, replicas=1))
