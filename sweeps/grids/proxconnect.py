"""Every experiment of the ProxConnect paper: 380 trials.

Trials that a smaller sibling has trained in the same storage are not trained again.
"""

from quantlab.papers.proxconnect import SEEDS
from sweeps.grids import proxconnect_cifar10, proxconnect_imagenet
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="proxconnect",
    description="The ProxConnect paper: CIFAR-10 and ImageNet, fine-tuning and end to end",
    experiment="proxconnect",
    blocks=(*proxconnect_cifar10.SWEEP.blocks, *proxconnect_imagenet.SWEEP.blocks),
    seeds=SEEDS,
)
