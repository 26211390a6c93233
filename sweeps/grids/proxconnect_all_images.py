"""The ProxConnect paper by its own protocol: trained on all images, rho0 chosen on test images.

These are the 380 trials of `proxconnect` without validation images. An epoch has 391 steps on
CIFAR-10 instead of 352, and 5,005 on ImageNet instead of 4,810, so that the shifts of ProxQuant and
reverseProxConnect add up to the paper's. `sweeps report --select test` selects rho0 as the paper
does.
"""

from quantlab.papers.proxconnect import RESNET20, RESNET56, SEEDS, cifar10, imagenet
from sweeps.grids import proxconnect_cifar10, proxconnect_imagenet
from sweeps.spec import SweepSpec

CIFAR10 = cifar10(validation_images=0)

SWEEP = SweepSpec(
    name="proxconnect_all_images",
    description="The ProxConnect paper by its own protocol: no images held out",
    experiment="proxconnect_all_images",
    blocks=(
        *proxconnect_cifar10.blocks(RESNET20, dataset=CIFAR10),
        *proxconnect_cifar10.blocks(RESNET56, dataset=CIFAR10),
        *proxconnect_imagenet.blocks(imagenet(validation_images=0)),
    ),
    seeds=SEEDS,
)
