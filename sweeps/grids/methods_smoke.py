"""The comparison of all methods in small: the protocol of `digits`, in minutes.

The network, the epochs and SGD are those of the demo. Adam's learning rate drops at the same
epochs. The values of rho0 are those of the demo, and the factors of beta lead to the same last
values as in `methods`.
"""

import torch

from quantlab import OptimizerSpec
from quantlab.schedules import StepDecay
from sweeps.grids.digits import BASE
from sweeps.grids.methods import PROTOCOL, Protocol, blocks
from sweeps.spec import SweepSpec

ADAM = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=StepDecay(0.01, milestones=(15, 22)))

SMOKE = Protocol(
    base=BASE,
    batchnorm_epochs=10,
    optimizers={"SGD": BASE.optimizer, "Adam": ADAM},
    steps_per_epoch=17,
    beta_interval=5,  # 102 products in 510 steps
    beta_scales=(1.035, 1.07, 1.18),
    numbers={
        **PROTOCOL.numbers,
        "PQ": (1e-4, 1e-3, 1e-2),
        "rPC": (1e-4, 1e-3, 1e-2),
        "PC": (0.03, 0.06, 0.12),
        "BNN++": (3.0, 6.0, 12.0),
    },
    normal_map_rho0=0.06,
)

SWEEP = SweepSpec(
    name="methods_smoke",
    description="Every method under one protocol, in small: a ConvNet on digits, end to end",
    blocks=blocks(SMOKE),
    seeds=(0, 1, 2),
)
