"""Methods that are one on paper are one on a network that is trained."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from quantlab import OptimizerSpec, Quantizer, Recipe, TrainingRun
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantization_sets import BINARY
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import (
    POST_TRAINING,
    PROX_CONNECT,
    PROX_QUANT,
    REVERSE_PROX_CONNECT,
    UpdateRule,
)
from tests.quantlab.packs.test_packs import method
from tests.quantlab.recipes import quantized

ADAM = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.01))


def test_binary_softmax_with_adam_is_tanh_with_adam() -> None:
    """Adam moves both latents of a weight by the same distance (mirror-descent paper, MD-*-S)."""

    def trained(quantizer: Quantizer) -> TrainingRun:
        recipe = method(3, quantizer=quantizer, optimizer=ADAM)
        assert recipe.quantization is not None
        quantization = replace(recipe.quantization, sharpness=Linear(1.0, period=10))
        run = TrainingRun(replace(recipe, quantization=quantization, epochs=4))
        list(run)
        return run

    lifted, plain = trained(Softmax(BINARY)), trained(ShiftedTanh(BINARY))
    assert lifted.last_loss == pytest.approx(plain.last_loss, rel=1e-9)
    assert lifted.outcome() == plain.outcome()
    for name, weight in lifted.final_weights().items():
        torch.testing.assert_close(weight, plain.final_weights()[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("latent", "pull", "rule"),
    [
        (PROX_CONNECT, 0.0, PROX_CONNECT),
        (PROX_CONNECT, 1.0, PROX_QUANT),
        (POST_TRAINING, 0.0, POST_TRAINING),
        (POST_TRAINING, 1.0, REVERSE_PROX_CONNECT),
    ],
    ids=["ProxConnect", "ProxQuant", "post-training", "reverseProxConnect"],
)
@pytest.mark.parametrize("options", [{}, {"optimizer": ADAM}], ids=["SGD", "Adam"])
def test_the_ends_of_the_pull_are_the_rules_to_the_bit(
    latent: UpdateRule, pull: float, rule: UpdateRule, options: dict[str, Any]
) -> None:
    recipe: Recipe = replace(quantized(), **options)
    assert recipe.quantization is not None
    pulled = replace(recipe.quantization, rule=latent, pull=pull)
    runs = []
    for quantization in (pulled, replace(recipe.quantization, rule=rule)):
        runs.append(TrainingRun(replace(recipe, quantization=quantization)))
        records = [replace(record, seconds=0) for record in runs[-1]]
        assert len(records) == recipe.epochs + recipe.batchnorm_epochs
    own, other = (run.final_weights() for run in runs)
    assert runs[0].outcome() == runs[1].outcome()
    assert all(torch.equal(weight, other[name]) for name, weight in own.items())
