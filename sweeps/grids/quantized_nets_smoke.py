"""Figures 6 and 7 of "Training Quantized Nets" in small: thin networks on digits, in minutes.

The methods, their sets and layers are those of `quantized_nets`. 34 steps in each of 40 epochs
replace 391 steps in each of 160. The learning rates are the published ones, and drop after the same
shares of the training. Batches are a quarter of the published ones: 32 images, or 256 and 128 for
big batches. A weight decay of 1e-5 would not be seen in so few steps, and is replaced by 1e-3.
"""

from dataclasses import replace

from quantlab import Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.resnet import ResNet
from quantlab.models.vgg import VGG9
from quantlab.papers.quantized_nets import BC_ADAM, METHODS, SEEDS, SR_ADAM, RoundingMethod, recipe
from quantlab.schedules import StepDecay
from sweeps.spec import Axis, Block, SweepSpec

NETWORKS = {
    "VGG-9": VGG9(width=8, image_size=8),
    "WRN-56-2": ResNet(depth=8, width=8, widening=2),
}
"""The thin network for each of the paper's."""
EPOCHS = 40
DROPS = (20, 31)
BATCHES = 4
"""The published batch sizes are divided by it."""
DECAYED = (BC_ADAM, SR_ADAM)
"""Methods that are also trained with weight decay, on the first network."""
DECAYS = Axis("weight_decay", "optimizer.options.weight_decay", (0.0, 1e-3))


def small(method: RoundingMethod | None, network: str) -> Recipe:
    """Return an experiment of the paper in small.

    Args:
        method: the method; None for the network in full precision.
        network: one of `NETWORKS`.
    """
    full = recipe(method, "CIFAR-10", network)
    rate = full.optimizer.learning_rate
    assert isinstance(rate, StepDecay)
    return replace(
        full,
        model=NETWORKS[network],
        dataset=Digits(),
        optimizer=replace(full.optimizer, learning_rate=replace(rate, milestones=DROPS)),
        epochs=EPOCHS,
        batch_size=full.batch_size // BATCHES,
    )


def _block(network: str, method: RoundingMethod | None) -> Block:
    name = "FP" if method is None else method.name
    is_decayed = method in DECAYED and network == next(iter(NETWORKS))
    return Block(
        f"{network} {name}",
        method=name,
        base=small(method, network),
        axes=(DECAYS,) if is_decayed else (),
    )


SWEEP = SweepSpec(
    name="quantized_nets_smoke",
    description="Training Quantized Nets, Figures 6 and 7 in small: thin networks on digits",
    blocks=tuple(_block(network, method) for network in NETWORKS for method in (None, *METHODS)),
    seeds=SEEDS,
)
