"""Small recipes for tests."""

from typing import Any

import torch

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear, StepDecay
from quantlab.update_rules import PROX_CONNECT, UpdateRule

SMALL_DIGITS = Digits(train_images=200, validation_images=50, test_images=60)
AUGMENTED_DIGITS = Digits(
    train_images=200, validation_images=50, augmentation=CropFlip(padding=1, flip=False)
)
SGD = OptimizerSpec(
    learning_rate=StepDecay(0.05, milestones=(3,)),
    options={"momentum": 0.9, "weight_decay": 1e-4},
)
ADAM = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.01))


def small_recipe(**changes: Any) -> Recipe:
    """Full precision unless `quantization` says otherwise."""
    settings: dict[str, Any] = {
        "model": ConvNet(width=4),
        "dataset": SMALL_DIGITS,
        "optimizer": SGD,
        "epochs": 3,
        "batch_size": 32,
    }
    return Recipe(**(settings | changes))


def quantized(rule: UpdateRule = PROX_CONNECT, **changes: Any) -> Recipe:
    """L_rho^rho on the ternary set."""
    quantization = Quantization(rule=rule, quantizer=PiecewiseLinear(), sharpness=Linear(0.05))
    settings: dict[str, Any] = {"quantization": quantization, "batchnorm_epochs": 2}
    return small_recipe(**(settings | changes))
