"""The mirror-descent paper's ternary networks: Table 5, with the hyper-parameters of Table 9.

The networks in full precision are those of `mirror_descent_binary`.
"""

from quantlab.papers.mirror_descent import COLUMNS, SEEDS, TERNARY_METHODS
from quantlab.quantization_sets import TERNARY
from sweeps.grids.mirror_descent_binary import block
from sweeps.spec import SweepSpec

SWEEP = SweepSpec(
    name="mirror_descent_ternary",
    description="The mirror-descent paper's Table 5: ternary networks on CIFAR and TinyImageNet",
    experiment="mirror_descent",
    blocks=tuple(
        block(dataset, network, method, "ternary", TERNARY)
        for dataset, network in COLUMNS
        for method in (None, *TERNARY_METHODS)
    ),
    seeds=SEEDS,
)
