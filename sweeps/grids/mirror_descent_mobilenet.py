"""The mirror-descent paper's binary MobileNetV2: Table 2, with the hyper-parameters of Table 10."""

from quantlab.papers.mirror_descent import MOBILENET_METHODS, SEEDS
from sweeps.grids.mirror_descent_binary import block
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="mirror_descent_mobilenet",
    description="The mirror-descent paper's Table 2: binary MobileNetV2 on CIFAR",
    experiment="mirror_descent",
    blocks=tuple(
        block(dataset, "MobileNetV2", method)
        for dataset in ("CIFAR-10", "CIFAR-100")
        for method in (None, *MOBILENET_METHODS)
    ),
    seeds=SEEDS,
)
