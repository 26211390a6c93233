"""The ProxConnect paper's ResNet20 trained end to end, 90 trials.

It is a part of `proxconnect_cifar10`, for a smaller budget.
"""

from quantlab.papers.proxconnect import RESNET20, SEEDS
from sweeps.grids.proxconnect_cifar10 import END_TO_END, blocks
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="proxconnect_resnet20_end_to_end",
    description="The ProxConnect paper on CIFAR-10: ResNet20 end to end (Tables 3 and 9-11)",
    experiment="proxconnect",
    blocks=blocks(RESNET20, regimes=(END_TO_END,)),
    seeds=SEEDS,
)
