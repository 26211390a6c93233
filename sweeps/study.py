"""StudySpec: a search as a value: its space of recipes, objectives, seeds, budget and sampler."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, TPESampler
from optuna.trial import BaseTrial

from quantlab import ConfigurationError, Recipe, configuration_id
from quantlab.errors import brief, described
from sweeps.labels import require_label, require_name, require_text
from sweeps.objective import BITS, VALIDATION_ACCURACY, Objective
from sweeps.plain_values import items_of, mapping_of, seeds_of
from sweeps.storage.optuna_database import DatabaseError

__all__ = [
    "BITS",
    "VALIDATION_ACCURACY",
    "WINNER",
    "Objective",
    "Space",
    "SpaceError",
    "StudySpec",
    "better_half",
    "tree_of_parzen_estimators",
]

WINNER = "winner"
"""What a confirmation calls the best new point."""

_TRIES = 20
"""Random points of a space that are looked at; some spaces leave most of theirs out."""

Space = Callable[[BaseTrial], Recipe]
"""Define-by-run: asks a trial for values, and gives the recipe they make; its seed is not used."""


class SpaceError(ConfigurationError):
    """A space fails where it should make a recipe: a slip in it, other than a value not allowed."""


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
        where = f"study {require_name(self.name, 'StudySpec.name')}"
        if not callable(self.space):
            raise ConfigurationError(
                f"StudySpec.space = {brief(self.space)}: must be a function of an Optuna trial"
            )
        for name, least in (("configurations", 1), ("seed", 0)):
            count = getattr(self, name)
            if type(count) is not int or count < least:
                raise ConfigurationError(
                    f"StudySpec.{name} = {brief(count)}: must be a whole number >= {least}"
                )
        seeds = seeds_of(self.seeds, "StudySpec.seeds")
        fresh = seeds_of(self.confirmation_seeds, "StudySpec.confirmation_seeds")
        if set(fresh) & set(seeds):
            raise ConfigurationError(
                f"StudySpec.confirmation_seeds = {brief(fresh)}: must be none of the seeds "
                f"{brief(seeds)}"
            )
        objectives = items_of(
            self.objectives, Objective, "StudySpec.objectives", "(VALIDATION_ACCURACY,)"
        )
        names = [objective.name for objective in objectives]
        if not objectives or len(set(names)) < len(names):
            raise ConfigurationError(
                f"StudySpec.objectives = {names}: must be at least one Objective, each of another "
                "name"
            )
        require_text(self.description, f"{where}: description")
        if self.experiment != "":
            require_label(self.experiment, f"{where}: experiment")
        self._require_parts()
        known = {
            require_label(label, "StudySpec.known: label"): mapping_of(
                point, f"StudySpec.known[{label!r}]", "{'rho0': 0.1}"
            )
            for label, point in mapping_of(
                self.known, "StudySpec.known", "{'PC': {'rho0': 0.1}}"
            ).items()
        }
        if WINNER in known:
            raise ConfigurationError(
                f"StudySpec.known has {WINNER!r}: that is what the best new point is called"
            )
        for name, value in (
            ("seeds", seeds),
            ("confirmation_seeds", fresh),
            ("objectives", objectives),
            ("known", known),
        ):
            object.__setattr__(self, name, value)

    def _require_parts(self) -> None:
        """That the sampler and the pruner are Optuna's."""
        try:
            made = self.sampler(0)
        except Exception as error:  # whatever the user's code does
            raise ConfigurationError(
                f"StudySpec.sampler = {brief(self.sampler)}: must make a sampler of Optuna's from "
                f"a seed, and fails: {described(error)}"
            ) from error
        if not isinstance(made, BaseSampler):
            raise ConfigurationError(
                f"StudySpec.sampler = {brief(self.sampler)}: must make a sampler of Optuna's from "
                f"a seed, and makes {brief(made)}"
            )
        if isinstance(made, GridSampler | BruteForceSampler):
            raise ConfigurationError(
                f"StudySpec.sampler makes a {type(made).__name__}, which stops a study by itself: "
                "write a grid as a sweep, and give a study another sampler"
            )
        if not isinstance(self.pruner, BasePruner):
            raise ConfigurationError(
                f"StudySpec.pruner = {brief(self.pruner)}: must be a pruner of Optuna's, such as "
                "better_half()"
            )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the objectives."""
        return [objective.direction for objective in self.objectives]

    def recipe(self, trial: BaseTrial) -> Recipe:
        """The recipe of a point of the space.

        Raises:
            ConfigurationError: quantlab does not allow a value at this point.
            SpaceError: the space fails, gives something else, or a recipe that holds out no
                images, by which alone it could be judged.
            DatabaseError: Optuna's storage is gone meanwhile.
            optuna.TrialPruned: the space leaves this point out.
        """
        where = f"study {self.name}"
        try:
            recipe = self.space(trial)
        except (optuna.TrialPruned, DatabaseError):
            raise
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}, {brief(trial.params)}: {error}") from error
        except (Exception, SystemExit) as error:  # whatever the user's code does
            at = f"{where}, {brief(trial.params)}"
            raise SpaceError(f"{at}: its space fails: {described(error)}") from error
        if not isinstance(recipe, Recipe):
            raise SpaceError(f"{where}: its space gives {brief(recipe)}, no Recipe")
        if recipe.dataset.validation_images == 0:
            what = f"{recipe.dataset.name}.validation_images = 0: a search needs some"
            raise SpaceError(f"{where}: {what}")
        try:
            configuration_id(recipe)
        except Exception as error:  # a value without a canonical form
            raise SpaceError(f"{where}, {brief(trial.params)}: {described(error)}") from error
        return recipe

    def require_valid(self) -> list[Recipe]:
        """Try the space at a random point and at the known ones, and the objectives on these.

        Returns:
            The recipes there.

        Raises:
            ConfigurationError: a point makes no recipe, a known one is not in the space, or an
                objective has no value for a result such as a trial leaves.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        recipes = self._at_random()
        labels: dict[str, str] = {}
        for label, point in self.known.items():
            fixed = optuna.trial.FixedTrial(dict(point))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # of a value beyond its bounds
                    recipe = self.recipe(fixed)
            except (ConfigurationError, optuna.TrialPruned) as error:
                raise ConfigurationError(
                    f"study {self.name}, known point {label!r}: {error}"
                ) from error
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
        for recipe, objective in product(recipes, self.objectives):
            try:
                objective.require_value(recipe)
            except ConfigurationError as error:
                raise ConfigurationError(f"study {self.name}: {error}") from error
        return recipes

    def _at_random(self) -> list[Recipe]:
        """The recipe of the first of some random points that is not left out; none if all are."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(_TRIES):
            with suppress(optuna.TrialPruned):
                return [self.recipe(study.ask())]
        return []
