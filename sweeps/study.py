"""StudySpec: a search as a value: its space of recipes, objectives, seeds, budget and sampler."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import BaseTrial
from scipy import stats

from analysis.schema import HISTORY
from quantlab import ConfigurationError, Recipe, configuration_id
from sweeps.results import bits

WINNER = "winner"
"""What a confirmation calls the best new point."""

Space = Callable[[BaseTrial], Recipe]
"""Define-by-run: asks a trial for values, and gives the recipe they make; its seed is not used."""


@dataclass(frozen=True)
class Objective:
    """What a configuration is judged by, over its seeds."""

    name: str
    direction: Literal["maximize", "minimize"]
    of: Callable[[Recipe, Mapping[str, Any]], float]
    """Recipe and result of a COMPLETE trial -> value."""
    of_diverged: float
    """What a diverged trial counts as, the worst that there is; leaving it out would reward it."""
    curve: str | None = None
    """Of `analysis.schema.HISTORY`, what shows it after each epoch; None if nothing does, so that
    only whole seeds can be compared."""
    cautious: float = 0.0
    """Confidence, in (0.5, 1), of a bound that stands for the mean of a configuration's seeds: with
    0.9, the mean is worse in one of ten cases. 0 takes the mean itself."""

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise ConfigurationError(
                f"Objective.direction = {self.direction!r}: must be 'maximize' or 'minimize'"
            )
        if self.curve is not None and self.curve not in HISTORY:
            raise ConfigurationError(
                f"Objective.curve = {self.curve!r}: must be None or one of {', '.join(HISTORY)}"
            )
        if self.cautious and not 0.5 < self.cautious < 1:
            raise ConfigurationError(
                f"Objective.cautious = {self.cautious!r}: must be 0, or between 0.5 and 1"
            )

    def over_seeds(self, values: Sequence[float]) -> float:
        """The mean, or Student's bound of it on the bad side; one value stands for itself."""
        mean = math.fsum(values) / len(values)
        if not self.cautious or len(values) == 1:
            return mean
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        quantile = float(stats.t.ppf(self.cautious, len(values) - 1))
        distance = quantile * math.sqrt(variance / len(values))
        return mean + (distance if self.direction == "minimize" else -distance)


VALIDATION_ACCURACY = Objective(
    "validation accuracy",
    "maximize",
    of=lambda recipe, result: float(result["validation_accuracy"]),
    of_diverged=0.0,
    curve="validation_accuracy_hard",
)
"""A fraction; the test images have no part in a search."""
BITS = Objective("bits a weight", "minimize", of=bits, of_diverged=32.0)
"""The mean over all quantized weights."""


def tree_of_parzen_estimators(seed: int) -> BaseSampler:
    """Optuna's TPE, with running trials taken into account, for several workers at once."""
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def better_half(startup: int = 8, after: int = 0) -> BasePruner:
    """Drops what has never been as good as the median of finished configurations was by then.

    Args:
        startup: configurations that are tried to their end before any is dropped.
        after: epochs of the first seed before which none is dropped. What is annealed slowly is
            still far from its set then, and its hard accuracy says little.
    """
    return PercentilePruner(50.0, n_startup_trials=startup, n_warmup_steps=after)


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A search over recipes.

    A configuration is trained with its first seed, and with one more seed after the other while it
    is in the race: what the pruner is told is the objective over the seeds so far, epoch by epoch.
    """

    name: str
    space: Space
    configurations: int
    """The budget: configurations that are tried, pruned ones included, >= 1."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of each configuration that stays in the race."""
    objectives: tuple[Objective, ...] = (VALIDATION_ACCURACY,)
    """With several, the whole Pareto front is the result, and nothing is pruned."""
    sampler: Callable[[int], BaseSampler] = tree_of_parzen_estimators
    """Makes a sampler from a seed."""
    pruner: BasePruner = field(default_factory=better_half)
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Points of the space to begin with, and to hold the winner against: label -> values."""
    confirmation_seeds: tuple[int, ...] = tuple(range(100, 110))
    """Those with which the winner is confirmed; none of `seeds`."""
    seed: int = 0
    """Of the sampler."""
    description: str = ""
    experiment: str = ""
    """The MLflow experiment of its runs; its name if empty."""

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise ConfigurationError(
                f"StudySpec.name = {self.name!r}: must be letters, digits, '-' and '_'"
            )
        if type(self.configurations) is not int or self.configurations < 1:
            raise ConfigurationError(
                f"StudySpec.configurations = {self.configurations!r}: must be a whole number >= 1"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigurationError(
                f"StudySpec.seeds = {self.seeds}: must be one or more, each once"
            )
        if not self.confirmation_seeds or set(self.confirmation_seeds) & set(self.seeds):
            raise ConfigurationError(
                f"StudySpec.confirmation_seeds = {self.confirmation_seeds}: must be one or more, "
                f"and none of the seeds {self.seeds}"
            )
        is_tuple = isinstance(self.objectives, tuple) and self.objectives
        if not is_tuple or not all(isinstance(item, Objective) for item in self.objectives):
            raise ConfigurationError(
                f"StudySpec.objectives = {self.objectives!r}: must be a tuple of at least one "
                "Objective"
            )
        if not callable(self.sampler) or not isinstance(self.sampler(0), BaseSampler):
            raise ConfigurationError(
                f"StudySpec.sampler = {self.sampler!r}: must make a sampler of Optuna's from a seed"
            )
        if not all(isinstance(point, Mapping) for point in self.known.values()):
            raise ConfigurationError(
                f"StudySpec.known = {self.known!r}: must be labels with parameters and their values"
            )
        if WINNER in self.known:
            raise ConfigurationError(
                f"StudySpec.known has {WINNER!r}: that is what the best new point is called"
            )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the objectives."""
        return [objective.direction for objective in self.objectives]

    def recipe(self, trial: BaseTrial) -> Recipe:
        """The recipe of a point of the space.

        Raises:
            ConfigurationError: the space gives something else, or a recipe that holds out no
                images, by which alone it could be judged.
        """
        try:
            recipe = self.space(trial)
        except optuna.TrialPruned:
            raise
        except Exception as error:  # whatever the user's code does
            raise ConfigurationError(f"study {self.name}, {trial.params}: {error}") from error
        if not isinstance(recipe, Recipe):
            raise ConfigurationError(f"study {self.name}: its space gives {recipe!r}, no Recipe")
        if recipe.dataset.validation_images == 0:
            what = f"{recipe.dataset.name}.validation_images = 0: a search needs some"
            raise ConfigurationError(f"study {self.name}: {what}")
        return recipe

    def require_valid(self) -> list[Recipe]:
        """Try the space at a random point and at the known ones.

        Returns:
            The recipes there.

        Raises:
            ConfigurationError: a point makes no recipe, or a known one is not in the space.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        recipes = [self.recipe(trial)]
        labels: dict[str, str] = {}
        for label, point in self.known.items():
            fixed = optuna.trial.FixedTrial(dict(point))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # of a value beyond its bounds
                    recipe = self.recipe(fixed)
            except ConfigurationError as error:
                raise ConfigurationError(f"known point {label!r}: {error}") from error
            if unused := set(point) - set(fixed.params):
                raise ConfigurationError(
                    f"study {self.name}, known point {label!r}: the space does not ask for "
                    f"{', '.join(sorted(unused))}"
                )
            other = labels.setdefault(configuration_id(recipe), label)
            if other != label:
                raise ConfigurationError(
                    f"study {self.name}: known points {other!r} and {label!r} are the same recipe"
                )
            recipes.append(recipe)
        return recipes
