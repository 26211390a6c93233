"""Accuracy against bits: a quantization set for each layer of the demo's network, on digits.

NSGA-II searches the sets, the update rule, rho0, and whether layers have learned scales. The map is
L with shifts in half-gaps. PC with one set for all layers is evaluated first.
"""

from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import BaseTrial

from quantlab import Quantization, Recipe, override
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from sweeps.grids.digits import BASE
from sweeps.quantizer_space import suggest_groups, suggest_rule, suggest_scales
from sweeps.study import BITS, VALIDATION_ACCURACY, StudySpec

LAYERS = ("conv1", "conv2", "conv3", "linear")


def space(trial: BaseTrial) -> Recipe:
    """Suggest an update rule, rho0, and a set for each layer."""

    def relative(levels: tuple[float, ...] = BINARY) -> PiecewiseLinear:
        return PiecewiseLinear(levels, relative=True)

    quantization = Quantization(
        rule=suggest_rule(trial),
        quantizer=relative(),
        sharpness=Linear(rho0=trial.suggest_float("rho0", 0.01, 1.0, log=True)),
        groups=suggest_groups(trial, LAYERS, relative),
    )
    recipe = override(BASE, "model", suggest_scales(trial, BASE.model))
    return override(override(recipe, "quantization", quantization), "batchnorm_epochs", 10)


def everywhere(*shares: float, zero: bool) -> dict[str, float | int]:
    """Return the parameters of one set for all layers.

    Args:
        shares: distances between the positive levels, starting from 0.
        zero: include the level 0.
    """
    own: dict[str, float | int] = {"levels": 2 * len(shares) + zero}
    own |= {f"level.{i}": share for i, share in enumerate(shares, start=1)}
    return {f"{layer}.{name}": value for layer in LAYERS for name, value in own.items()}


def nsga_ii(seed: int) -> BaseSampler:
    """Make Optuna's NSGA-II sampler, with generations small enough for the budget."""
    return NSGAIISampler(seed=seed, population_size=12)


PC = {"rule": "PC", "rho0": 0.12, "scales": "fixed"}

STUDY = StudySpec(
    name="digits_bits",
    description="validation accuracy against bits per weight, with a set for each layer, on digits",
    space=space,
    configurations=60,
    seeds=(0, 1),
    objectives=(VALIDATION_ACCURACY, BITS),
    sampler=nsga_ii,
    known={
        "PC binary": {**PC, **everywhere(1.0, zero=False)},
        "PC ternary": {**PC, **everywhere(1.0, zero=True)},
        "PC quaternary": {**PC, **everywhere(0.3, 0.7, zero=False)},
    },
)
