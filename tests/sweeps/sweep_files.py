"""Sweep files as a user would write them, for tests."""

TINY = '''
"""A sweep of seconds, with a quantizer of its own."""

from dataclasses import dataclass

import torch

from quantlab import OptimizerSpec, Quantization, Quantizer, Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.nearest import Nearest
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.spec import Axis, Block, SweepSpec


@dataclass(frozen=True)
class Tanh(Quantizer):
    """tanh(sharpness w*), a map of the user's own, for the binary set."""

    levels: tuple[float, ...] = (-1.0, 1.0)

    def prox(self, latent, sharpness):
        return torch.tanh((1 + sharpness) * latent)


SWEEP = SweepSpec(
    name="tiny",
    base=Recipe(
        model=ConvNet(width=4),
        dataset=Digits(train_images=200, validation_images=50, test_images=60),
        optimizer=OptimizerSpec(learning_rate=Constant(0.05), options={"momentum": 0.9}),
        epochs=2,
        batch_size=50,
    ),
    blocks=(
        Block("FP"),
        Block(
            "MD",
            overrides={
                "quantization": Quantization(
                    rule=PROX_CONNECT, quantizer=Tanh(), sharpness=Linear(1.0)
                ),
                "batchnorm_epochs": 1,
            },
            axes=(Axis("rho0", "quantization.sharpness.rho0", (0.5, 1.0)),),
        ),
    ),
    seeds=(0, 1),
)
'''

WITH_CHILD = (
    TINY.replace("SWEEP = SweepSpec(", "FIRST = SweepSpec(")
    + """
from dataclasses import replace

from quantlab import fingerprint
from quantlab.initial_weights import TrialWeights

parent = next(cell.recipe for cell in FIRST.cells if cell.name == "MD rho0=0.5 seed=0")
child = replace(parent, initial_weights=TrialWeights(fingerprint(parent)))
SWEEP = replace(FIRST, blocks=(*FIRST.blocks, Block("child", base=child, seeds=(0,))))
"""
)
"""TINY, and a trial that starts from another's network."""


def changed(text: str, old: str, new: str) -> str:
    """The text with something changed that must be in it."""
    assert old in text
    return text.replace(old, new)


STUDY = (
    TINY
    + """
from quantlab import override
from sweeps.study import StudySpec

BASE = SWEEP.cells[-1].recipe


def space(trial):
    return override(
        BASE, "quantization.sharpness.rho0", trial.suggest_float("rho0", 0.1, 10, log=True)
    )


STUDY = StudySpec(name="tiny-study", space=space, configurations=12, seeds=(0, 1))
"""
)
"""A study over the sharpness of that quantizer."""
