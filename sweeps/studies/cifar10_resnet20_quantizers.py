"""Ternary quantizers for ResNet20 on CIFAR-10, trained end to end as the ProxConnect paper does.

The setting is that of its Table 3, in which the ternary set is the hardest. One seed of a
configuration takes about 1.5 GPU-hours (the paper's Table 5). PC at the paper's middle rho0, 1e-2,
and BC are evaluated first.
"""

from optuna.trial import BaseTrial

from quantlab import Recipe, override
from quantlab.quantization_sets import TERNARY
from sweeps.grids.proxconnect_resnet20_end_to_end_ternary import SWEEP
from sweeps.quantizer_space import suggest_quantizer, suggest_rule
from sweeps.studies.digits_quantizers import CLOCK, PC
from sweeps.study import StudySpec, better_half

BASE = next(cell.recipe for cell in SWEEP.cells if cell.method == "PC")


def space(trial: BaseTrial) -> Recipe:
    """Suggest an update rule and a map on {-1, 0, 1}."""
    recipe = BASE
    for path, value in {
        "quantization.rule": suggest_rule(trial),
        "quantization.quantizer": suggest_quantizer(trial, TERNARY),
        "quantization.sharpness": CLOCK,
    }.items():
        recipe = override(recipe, path, value)
    return recipe


STUDY = StudySpec(
    name="cifar10_resnet20_quantizers",
    description="ternary quantizers and update rules for ResNet20 on CIFAR-10, end to end",
    space=space,
    configurations=100,
    pruner=better_half(after=BASE.epochs // 2),
    known={
        "PC": {**PC, "rho.start": 0.02, "varrho.start": 0.02},  # L at 1e-2, in half-gaps of 0.5
        "BC": {**PC, "rho.start": 1.0, "varrho.start": 1.0},  # the projector
    },
)
