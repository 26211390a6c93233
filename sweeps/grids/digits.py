"""The demo: every method of the ProxConnect paper on scikit-learn's digits, end to end.

The setting is the paper's end-to-end one (B.1.5) scaled to 30 + 10 epochs on a small network: SGD
with momentum, two learning-rate drops, hard quantization after three quarters of the epochs. The
values of rho0 are the grids of its Tables 9-11, converted to the shorter training. As in the paper,
ProxQuant's shifts add up to about 0.8, 8 and 80 in the unit of the weights, and ProxConnect's rho_t
with rho0 = 0.03, 0.06 and 0.12 makes the binary quantizer the projector at about the end, in the
middle, and after a quarter of the QUANTIZE epochs (it ends at 0.93, 1.86 and 3.72 half-gaps). These
three span a factor of 4 only. Every method is to be tried over the same factor of 100, so
ProxConnect has a tenth and ten times the middle of its grid as well. With the latter, which exceeds
half the distance of two levels, it is BinaryConnect on the ternary and the quaternary set.
"""

import torch

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear, StepDecay
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT, UpdateRule
from sweeps.spec import Axis, Block, SweepSpec

BASE = Recipe(
    model=ConvNet(width=16),
    dataset=Digits(),
    optimizer=OptimizerSpec(
        algorithm=torch.optim.SGD,
        learning_rate=StepDecay(0.1, milestones=(15, 22)),
        options={"momentum": 0.9, "weight_decay": 1e-4},
    ),
    epochs=30,
    batch_size=64,
)

SETS = Axis(
    "set",
    "quantization.quantizer.levels",
    {"binary": BINARY, "ternary": TERNARY, "quaternary": QUATERNARY},
)


def annealed(label: str, rule: UpdateRule, rho0: tuple[float, ...]) -> Block:
    """Return the block of a method with L_rho^rho and its own values of rho0."""
    return Block(
        label,
        overrides={
            "quantization": Quantization(
                rule=rule, quantizer=PiecewiseLinear(), sharpness=Linear(rho0=rho0[0])
            ),
            "batchnorm_epochs": 10,
        },
        axes=(SETS, Axis("rho0", "quantization.sharpness.rho0", rho0)),
    )


SWEEP = SweepSpec(
    name="digits",
    description="BC, PQ, rPC, PC x binary, ternary, quaternary x rho0 x seed on digits, end to end",
    base=BASE,
    blocks=(
        Block("FP"),
        Block(
            "BC",
            overrides={
                "quantization": Quantization(rule=PROX_CONNECT, quantizer=Nearest()),
                "batchnorm_epochs": 10,
            },
            axes=(SETS,),
        ),
        annealed("PQ", PROX_QUANT, (1e-4, 1e-3, 1e-2)),
        annealed("rPC", REVERSE_PROX_CONNECT, (1e-4, 1e-3, 1e-2)),
        annealed("PC", PROX_CONNECT, (0.006, 0.03, 0.06, 0.12, 0.6)),
    ),
    seeds=(0, 1, 2),
)
