"""The ProxConnect paper's ResNet20 by its own protocol, with no images held out: 181 trials.

It is a part of `proxconnect_all_images`, for a smaller budget.
"""

from quantlab.papers.proxconnect import RESNET20, SEEDS
from sweeps.grids.proxconnect_all_images import CIFAR10
from sweeps.grids.proxconnect_cifar10 import blocks
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="proxconnect_all_images_resnet20",
    description="The ProxConnect paper by its own protocol: ResNet20, no images held out",
    experiment="proxconnect_all_images",
    blocks=blocks(RESNET20, dataset=CIFAR10),
    seeds=SEEDS,
)
