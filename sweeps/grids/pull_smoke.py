"""From ProxConnect to ProxQuant: the pull theta against rho0, on digits and on MNIST-1D.

A step starts from (1 - theta) w* + theta w. With the gradient at w, theta = 0 is ProxConnect and
theta = 1 is ProxQuant. With the gradient at w*, they are post-training quantization, which no rho0
changes, and reverseProxConnect. Map, sets, values of rho0 and seeds are the same for every theta.

The training on digits is that of `digits`: 510 steps before hard quantization. That on MNIST-1D has
500 steps. Its rho_t grows as much per step as on digits, and its learning rate drops after the same
shares of the steps.
"""

import torch

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.datasets.signals.mnist1d import MNIST1D
from quantlab.models.convnet import SignalConvNet
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear, StepDecay
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, UpdateRule
from sweeps.grids.digits import BASE, SETS
from sweeps.spec import Axis, Block, Knob, SweepSpec

THETA = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RHO0 = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SIGNALS = Recipe(
    model=SignalConvNet(width=16),
    dataset=MNIST1D(),
    optimizer=OptimizerSpec(
        algorithm=torch.optim.SGD,
        learning_rate=StepDecay(0.1, milestones=(5, 7)),
        options={"momentum": 0.9, "weight_decay": 1e-4},
    ),
    epochs=10,  # of 50 steps
    batch_size=64,
)
STEPS_PER_EPOCH_OF_DIGITS = 17


def block(
    label: str,
    method: str,
    rule: UpdateRule,
    *,
    base: Recipe = BASE,
    batchnorm_epochs: int = 10,
    period: int | None = None,
) -> Block:
    """Return the grid of a gradient point on a dataset.

    Args:
        label: label of the block.
        method: name of the gradient point.
        rule: update rule without a pull.
        base: recipe in full precision.
        batchnorm_epochs: number of epochs after hard quantization.
        period: number of steps in which rho_t grows by rho0; None for those of an epoch.
    """
    quantization = Quantization(
        rule=rule,
        quantizer=PiecewiseLinear(),
        sharpness=Linear(RHO0[0], period=period),
        pull=Constant(THETA[0]),
    )
    return Block(
        label,
        method=method,
        base=base,
        overrides={"quantization": quantization, "batchnorm_epochs": batchnorm_epochs},
        axes=(
            SETS,
            Axis(
                "theta", "quantization.pull", THETA, knob=Knob("log", low=THETA[1], high=THETA[-1])
            ),
            Axis("rho0", "quantization.sharpness.rho0", RHO0),
        ),
    )


def on_signals(method: str, rule: UpdateRule) -> Block:
    """Return the grid of a gradient point on MNIST-1D."""
    return block(
        f"{method}, MNIST-1D",
        method,
        rule,
        base=SIGNALS,
        batchnorm_epochs=3,
        period=STEPS_PER_EPOCH_OF_DIGITS,
    )


GRADIENT_POINTS = {"gradient at w": PROX_CONNECT, "gradient at w*": POST_TRAINING}

SWEEP = SweepSpec(
    name="pull_smoke",
    description="The line from ProxConnect to ProxQuant: dataset x theta x rho0 x set x seed",
    base=BASE,
    blocks=(
        *(block(method, method, rule) for method, rule in GRADIENT_POINTS.items()),
        *(on_signals(method, rule) for method, rule in GRADIENT_POINTS.items()),
    ),
    seeds=(0, 1, 2),
)
