"""Ternary quantizers for the demo's network, on digits.

The setting is that of `sweeps.grids.digits` with its ternary set. The study searches the update
rule, the map and its annealing. PC at the middle rho0 of that grid, BC, and PQ at its best rho0 are
evaluated first.
"""

from optuna.trial import BaseTrial

from quantlab import Quantization, Recipe, override
from quantlab.quantization_sets import TERNARY
from quantlab.schedules import Linear
from sweeps.grids.digits import BASE
from sweeps.quantizer_space import suggest_quantizer, suggest_rule
from sweeps.study import StudySpec, better_half

CLOCK = Linear(rho0=1.0)
"""1 + t / B, which grows by 1 each epoch; the laws of growth are functions of it."""


def space(trial: BaseTrial) -> Recipe:
    """Suggest an update rule and a map on {-1, 0, 1}."""
    quantization = Quantization(
        rule=suggest_rule(trial), quantizer=suggest_quantizer(trial, TERNARY), sharpness=CLOCK
    )
    return override(override(BASE, "quantization", quantization), "batchnorm_epochs", 10)


STRAIGHT = {f"{name}.{i}": value for i in (0, 1) for name, value in (("jump", 1.0), ("bend", 0.5))}
LINEAR = {"rho.law": "power", "rho.exponent": 1.0, "varrho.law": "power", "varrho.exponent": 1.0}
PC = {"rule": "PC", "mixed": False, "snap.1": 1.0, **STRAIGHT, **LINEAR}

STUDY = StudySpec(
    name="digits_quantizers",
    description="ternary quantizers and update rules for a small network on digits",
    space=space,
    configurations=60,
    pruner=better_half(after=BASE.epochs // 2),
    known={
        "PC": {**PC, "rho.start": 0.12, "varrho.start": 0.12},  # L at 0.06, in half-gaps of 0.5
        "BC": {**PC, "rho.start": 1.0, "varrho.start": 1.0},  # the projector
        "PQ": {**PC, "rule": "PQ", "rho.start": 0.02, "varrho.start": 0.02},  # L at 0.01
    },
)
