"""From ProxConnect to ProxQuant: the pull theta against rho0, on digits.

A step starts from (1 - theta) w* + theta w. With the gradient at w, theta = 0 is ProxConnect and
theta = 1 is ProxQuant. With the gradient at w*, they are post-training quantization, which no rho0
changes, and reverseProxConnect. Map, sets, values of rho0 and seeds are the same for every theta.
The training is that of `digits`.
"""

from quantlab import Quantization
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, UpdateRule
from sweeps.grids.digits import BASE, SETS
from sweeps.spec import Axis, Block, SweepSpec

THETA = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RHO0 = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def block(label: str, rule: UpdateRule) -> Block:
    """Return the grid of a gradient point."""
    quantization = Quantization(
        rule=rule, quantizer=PiecewiseLinear(), sharpness=Linear(RHO0[0]), pull=Constant(THETA[0])
    )
    return Block(
        label,
        overrides={"quantization": quantization, "batchnorm_epochs": 10},
        axes=(
            SETS,
            Axis("theta", "quantization.pull", THETA),
            Axis("rho0", "quantization.sharpness.rho0", RHO0),
        ),
    )


SWEEP = SweepSpec(
    name="pull_smoke",
    description="The line from ProxConnect to ProxQuant: theta x rho0 x set x seed on digits",
    base=BASE,
    blocks=(
        block("gradient at w", PROX_CONNECT),
        block("gradient at w*", POST_TRAINING),
    ),
    seeds=(0, 1, 2),
)
