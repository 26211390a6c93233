"""A ternary quantizer for the demo's network that needs no tuning, on digits.

The setting is that of `sweeps.grids.digits` with its ternary set. The strength of the pull, rho0,
is the knob that users have to tune. Every configuration is trained with a tenth and ten times its
own strength, too, and is as good as the worst of these trials. One that fails with a strength is
given up at once. Of all others, only the better half goes on after one seed, and again after two.
The search sees digits only. The sweep that confirms its winner trains on MNIST-1D, too, as
`sweeps.grids.pull_smoke` does: for as many steps, in each of which rho grows as on digits.
"""

from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import BaseTrial

from quantlab import Quantization, Recipe, override
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.growth import Geometric, Growth, Power, Saturating
from quantlab.quantizers.knots import Half, Knots
from quantlab.schedules import Linear
from sweeps.grids.digits import BASE
from sweeps.grids.pull_smoke import SIGNALS, STEPS_PER_EPOCH_OF_DIGITS
from sweeps.quantizer_space import suggest_rule
from sweeps.studies.digits_quantizers import CLOCK
from sweeps.study import (
    VALIDATION_ACCURACY,
    Constraint,
    Neighbourhood,
    StudySpec,
    seed_halving,
    worst,
)


def space(trial: BaseTrial) -> Recipe:
    """Suggest an update rule, and how the two shifts of a map on {-1, 0, 1} grow."""
    start = trial.suggest_float("start", 1e-3, 0.3, log=True)
    rho: Growth
    if trial.suggest_categorical("law", ["power", "geometric"]) == "power":
        rho = Power(start, trial.suggest_float("exponent", 0.5, 2.0))
    else:
        rho = Geometric(start, trial.suggest_float("factor", 1.05, 1.6))
    vertical = trial.suggest_categorical("varrho", ["as rho", "saturating", "none"])
    varrho = {"as rho": rho, "saturating": Saturating(start), "none": Power(0.0)}[vertical]
    bend = trial.suggest_float("bend", 0.1, 0.9)
    quantization = Quantization(
        rule=suggest_rule(trial),
        quantizer=Knots(TERNARY, rho=rho, varrho=varrho, halves=(Half(bend=bend),)),
        sharpness=CLOCK,
    )
    return override(override(BASE, "quantization", quantization), "batchnorm_epochs", 10)


UNSEEN = {
    "dataset": SIGNALS.dataset,
    "model": SIGNALS.model,
    "optimizer": SIGNALS.optimizer,
    "epochs": SIGNALS.epochs,
    "batchnorm_epochs": 3,  # of 50 steps
    "quantization.sharpness": Linear(rho0=1.0, period=STEPS_PER_EPOCH_OF_DIGITS),
}
"""MNIST-1D: what is not as in `BASE`."""


def patient(seed: int) -> BaseSampler:
    """Make Optuna's TPE sampler, with twice as many random points first, as most of them fail."""
    return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=20)


LINEAR = {"law": "power", "exponent": 1.0, "varrho": "as rho", "bend": 0.5}

STUDY = StudySpec(
    name="digits_untuned",
    description="ternary quantizers for a small network on digits that need no tuning of rho0",
    space=space,
    configurations=48,
    seeds=(0, 1, 2, 3),
    objectives=(worst(VALIDATION_ACCURACY),),
    sampler=patient,
    pruner=seed_halving(),
    settings={"digits": {}},
    neighbourhoods=(
        Neighbourhood(
            name="rho0",
            paths=("quantization.quantizer.rho.start", "quantization.quantizer.varrho.start"),
            factors=(0.1, 1, 10),
            confirmed=(0.1, 0.3, 1, 3, 10),
        ),
    ),
    constraints=(Constraint(VALIDATION_ACCURACY, 0.5),),
    known={"PC": {**LINEAR, "start": 0.12, "rule": "PC"}},  # L at 0.06, in half-gaps of 0.5
    confirmation_settings={"MNIST-1D": UNSEEN},
)
