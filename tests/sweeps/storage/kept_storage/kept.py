"""A small sweep with a quantizer of its own, whose storage is beside it."""

from dataclasses import dataclass

import torch

from quantlab import OptimizerSpec, Quantization, Quantizer, Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.mlp import MLP
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.spec import Block, SweepSpec


@dataclass(frozen=True)
class Tanh(Quantizer):
    """tanh((1 + sharpness) w*), for the binary set."""

    levels: tuple[float, ...] = (-1.0, 1.0)

    def prox(self, latent, sharpness):
        return torch.tanh((1 + sharpness) * latent)


SWEEP = SweepSpec(
    name="kept",
    base=Recipe(
        model=MLP(hidden=(8,)),
        dataset=Digits(train_images=200, validation_images=50, test_images=60),
        optimizer=OptimizerSpec(learning_rate=Constant(0.05), options={"momentum": 0.9}),
        quantization=Quantization(rule=PROX_CONNECT, quantizer=Tanh(), sharpness=Linear(0.1)),
        epochs=4,
        batchnorm_epochs=1,
        batch_size=5,
    ),
    blocks=(Block("MD"),),
    seeds=(0, 1, 2),
)
