"""The ProxConnect paper's ResNet20: pretraining, both regimes, 181 trials.

It is a part of `proxconnect_cifar10`, for a smaller budget.
"""

from quantlab.papers.proxconnect import RESNET20, SEEDS
from sweeps.grids.proxconnect_cifar10 import blocks
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="proxconnect_resnet20",
    description="The ProxConnect paper on CIFAR-10: ResNet20, both regimes",
    experiment="proxconnect",
    blocks=blocks(RESNET20),
    seeds=SEEDS,
)
