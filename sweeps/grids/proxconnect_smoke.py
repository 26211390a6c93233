"""The ProxConnect paper's CIFAR-10 experiments scaled down: a thin ResNet8 on digits.

The blocks are those of `proxconnect_cifar10`, with pretraining, both regimes and three seeds. They
take less than ten minutes on two CPU cores and need no download. 24 + 12 epochs replace the
paper's 200 + 100. The learning rate drops after the same shares of the training, and 4 gradient
steps replace an epoch in rho_t, so that ProxConnect with the paper's rho0 has the paper's range of
rho. ProxQuant's shifts add up over the steps, of which there are a hundredth as many; 100 times its
rho0 gives the paper's sum.
"""

from collections.abc import Mapping
from dataclasses import replace

from quantlab import Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.resnet import ResNet
from quantlab.papers.proxconnect import (
    CIFAR10_END_TO_END_RHO0,
    CIFAR10_FINE_TUNING_RHO0,
    SEEDS,
)
from quantlab.schedules import Linear, StepDecay
from sweeps.grids.proxconnect_cifar10 import blocks
from sweeps.spec import SweepSpec

EPOCHS = 24
STEPS_FOR_A_PAPER_EPOCH = 4  # 34 steps in each of 24 epochs, for 200 epochs


def shorten(recipe: Recipe) -> Recipe:
    """Scale a recipe of 200 epochs down to 24, with batches of 32."""
    optimizer, quantization = recipe.optimizer, recipe.quantization
    rate = optimizer.learning_rate
    if isinstance(rate, StepDecay):
        milestones = tuple(epoch * EPOCHS // recipe.epochs for epoch in rate.milestones)
        optimizer = replace(optimizer, learning_rate=replace(rate, milestones=milestones))
    if quantization is not None and isinstance(quantization.sharpness, Linear):
        annealing = replace(quantization.sharpness, period=STEPS_FOR_A_PAPER_EPOCH)
        quantization = replace(quantization, sharpness=annealing)
    return replace(
        recipe,
        optimizer=optimizer,
        quantization=quantization,
        epochs=EPOCHS,
        batchnorm_epochs=recipe.batchnorm_epochs * EPOCHS // recipe.epochs,
        batch_size=32,
    )


def scaled(rho0: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """Return 100 times the paper's values of rho0, and those of ProxConnect unchanged."""
    return {
        method: values if method == "PC" else tuple(float(f"{100 * value:g}") for value in values)
        for method, values in rho0.items()
    }


SWEEP = SweepSpec(
    name="proxconnect_smoke",
    description="The ProxConnect paper's CIFAR-10 blocks in small: ResNet8 on digits",
    blocks=blocks(
        ResNet(depth=8, width=8),
        dataset=Digits(),
        fine_tuning_rho0=scaled(CIFAR10_FINE_TUNING_RHO0),
        end_to_end_rho0=scaled(CIFAR10_END_TO_END_RHO0),
        adapt=shorten,
    ),
    seeds=SEEDS,
)
