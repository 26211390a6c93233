"""StudySpec: a search as a value, with its space of recipes, objectives, seeds and budget."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, TPESampler
from optuna.trial import BaseTrial

from quantlab import ConfigurationError, Recipe, configuration_id
from quantlab.errors import brief, described
from sweeps.block import resources_of
from sweeps.evaluation.constraint import Constraint, constraints_of
from sweeps.evaluation.neighbourhood import Neighbourhood, neighbourhoods_of
from sweeps.evaluation.variants import Variant, settings_of, variants
from sweeps.evaluation.whole_seeds import WholeSeeds, seed_halving
from sweeps.labels import require_label, require_name, require_text
from sweeps.objective import (
    BITS,
    FILE_BYTES,
    VALIDATION_ACCURACY,
    Objective,
    validation_objective,
    worst,
)
from sweeps.plain_values import items_of, mapping_of, seeds_of
from sweeps.storage.optuna_database import DatabaseError

__all__ = [
    "BITS",
    "FILE_BYTES",
    "VALIDATION_ACCURACY",
    "WINNER",
    "Constraint",
    "Neighbourhood",
    "Objective",
    "PartError",
    "Space",
    "SpaceError",
    "StudySpec",
    "WholeSeeds",
    "better_half",
    "seed_halving",
    "tree_of_parzen_estimators",
    "validation_objective",
    "worst",
]

WINNER = "winner"
"""Label of the best new configuration in a sweep that confirms it."""

_TRIES = 20
"""Random points of a space that are tried; some spaces prune most of their points."""

Space = Callable[[BaseTrial], Recipe]
"""Define-by-run: suggests values with a trial and returns a recipe, whose seed is not used."""


class SpaceError(ConfigurationError):
    """The function of a space raised an error or returned no usable recipe."""


class PartError(ConfigurationError):
    """The sampler or the pruner of a study failed."""


def tree_of_parzen_estimators(seed: int) -> BaseSampler:
    """Make Optuna's multivariate TPE sampler with ``constant_liar``, for many workers.

    Args:
        seed: seed of the sampler.
    """
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def better_half(startup: int = 8, after: int = 0) -> BasePruner:
    """Make a pruner of configurations that are worse than the median of the finished ones.

    A configuration is pruned if its best value so far is worse than the median of what the
    complete configurations had reported at the same step.

    Args:
        startup: number of configurations that must be complete before any is pruned.
        after: epochs of the first seed before which none is pruned. A map that is annealed slowly
            is still far from its quantization set then, and its hard weights say little.
    """
    return PercentilePruner(50.0, n_startup_trials=startup, n_warmup_steps=after)


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A search over recipes.

    The seeds of a configuration are trained one after the other until it is complete or pruned. The
    pruner receives the objective over the seeds so far, after every epoch; or after whole seeds, if
    it is one of `WholeSeeds` or a seed has several trials, because of settings or knobs.
    """

    name: str
    space: Space
    configurations: int
    """The budget: number of configurations, pruned ones included, >= 1."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each configuration; a pruned one has fewer."""
    objectives: tuple[Objective, ...] = (VALIDATION_ACCURACY,)
    """With several objectives, the result is the Pareto front, and nothing is pruned."""
    sampler: Callable[[int], BaseSampler] = tree_of_parzen_estimators
    """Makes one of Optuna's samplers from a seed."""
    pruner: BasePruner = field(default_factory=better_half)
    """One of Optuna's pruners."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Datasets, networks and so on in each of which a configuration is trained: label -> path ->
    value, which replaces that of the space's recipe. Empty for the recipe as it is."""
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    """Knobs, around whose values every configuration is judged; all their combinations are
    trained."""
    constraints: tuple[Constraint, ...] = ()
    """Limits; a configuration that exceeds one cannot win. With a single objective, it ends as soon
    as that is known."""
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Points that are evaluated first and compared with the winner: label -> parameters."""
    confirmation_seeds: tuple[int, ...] = tuple(range(100, 110))
    """Seeds with which the winner is confirmed; none of `seeds`."""
    confirmation_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings that the search never sees, in which the winner is confirmed besides `settings`."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What each trial needs of its machine; see `sweeps.block.resources_of`."""
    seed: int = 0
    """Seed of the sampler."""
    description: str = ""
    """One line for reports and MLflow."""
    experiment: str = ""
    """The MLflow experiment of the study's runs; the study's name if empty."""

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
                f"StudySpec.objectives = {names}: must be at least one Objective, each with a name "
                "of its own"
            )
        settings = settings_of(self.settings, "StudySpec.settings")
        unseen = settings_of(self.confirmation_settings, "StudySpec.confirmation_settings")
        if both := set(settings) & set(unseen):
            raise ConfigurationError(
                f"StudySpec.confirmation_settings has {min(both)!r}, which is one of the settings "
                "of the search; choose another label"
            )
        neighbourhoods = neighbourhoods_of(self.neighbourhoods, objectives)
        constraints = constraints_of(self.constraints)
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
                f"StudySpec.known has the label {WINNER!r}, which is reserved for the best new "
                "configuration; choose another label"
            )
        for name, value in (
            ("seeds", seeds),
            ("confirmation_seeds", fresh),
            ("objectives", objectives),
            ("known", known),
            ("settings", settings),
            ("confirmation_settings", unseen),
            ("neighbourhoods", neighbourhoods),
            ("constraints", constraints),
            ("resources", resources_of(self.resources, "StudySpec.resources")),
        ):
            object.__setattr__(self, name, value)

    def _require_parts(self) -> None:
        """Require one of Optuna's samplers and one of its pruners."""
        try:
            made = self.sampler(0)
        except Exception as error:  # the user's code may raise anything
            raise ConfigurationError(
                f"StudySpec.sampler = {brief(self.sampler)}: must return one of Optuna's samplers "
                f"for a seed, but failed: {described(error)}"
            ) from error
        if not isinstance(made, BaseSampler):
            raise ConfigurationError(
                f"StudySpec.sampler = {brief(self.sampler)}: must return one of Optuna's samplers "
                f"for a seed, but returned {brief(made)}"
            )
        if isinstance(made, GridSampler | BruteForceSampler):
            raise ConfigurationError(
                f"StudySpec.sampler returned a {type(made).__name__}, which stops a study by "
                "itself; use another sampler, or write the grid as a SweepSpec"
            )
        if not isinstance(self.pruner, BasePruner):
            raise ConfigurationError(
                f"StudySpec.pruner = {brief(self.pruner)}: must be one of Optuna's pruners, such "
                "as better_half()"
            )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Direction of each objective."""
        return [objective.direction for objective in self.objectives]

    def recipe(self, trial: BaseTrial) -> Recipe:
        """Evaluate the space: return the recipe of a trial's parameters.

        Args:
            trial: suggests the parameters.

        Raises:
            ConfigurationError: quantlab does not allow one of the values.
            SpaceError: the space raised another error, returned something that is no recipe, or a
                recipe without validation images, which a search needs.
            DatabaseError: Optuna's storage cannot be used any more.
            PartError: the sampler failed.
            optuna.TrialPruned: the space excludes this point.
        """
        where = f"study {self.name}"
        try:
            recipe = self.space(trial)
        except (optuna.TrialPruned, DatabaseError, PartError):
            raise
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}, {brief(trial.params)}: {error}") from error
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            at = f"{where}, {brief(trial.params)}"
            raise SpaceError(f"{at}: the space failed: {described(error)}") from error
        if not isinstance(recipe, Recipe):
            raise SpaceError(f"{where}: the space returned {brief(recipe)}: must be a Recipe")
        self._require_validation_images(recipe)
        try:
            configuration_id(recipe)
        except Exception as error:  # a value without a canonical form
            raise SpaceError(f"{where}, {brief(trial.params)}: {described(error)}") from error
        return recipe

    def variants(self, recipe: Recipe, *, unseen: bool = False) -> tuple[Variant, ...]:
        """Return the recipes that are trained with each seed, for the recipe of a configuration.

        Args:
            recipe: see `recipe`.
            unseen: in the `confirmation_settings`, not in those of the search.

        Raises:
            ConfigurationError: a setting or a value of a knob is not possible for this recipe, or
                has no canonical form.
            SpaceError: a setting leaves no validation images.
        """
        try:
            settings = self.confirmation_settings if unseen else self.settings
            found = variants(recipe, settings, self.neighbourhoods)
        except ConfigurationError as error:
            raise ConfigurationError(f"study {self.name}: {error}") from error
        for variant in found:
            self._require_validation_images(variant.recipe)
        return found

    def _require_validation_images(self, recipe: Recipe) -> None:
        if not recipe.dataset.has_validation_images:
            raise SpaceError(
                f"study {self.name}: {recipe.dataset.name}.validation_images = 0: must be at least "
                "1, as a search selects on validation images"
            )

    @property
    def prunes(self) -> bool:
        """Whether the pruner is asked: with a single objective."""
        return len(self.objectives) == 1

    @property
    def prunes_by_seeds(self) -> bool:
        """Whether the steps of the pruner are numbers of whole seeds, and not of epochs."""
        return isinstance(self.pruner, WholeSeeds)

    @property
    def prunes_within_seeds(self) -> bool:
        """Whether the pruner receives learning curves, besides the values of whole seeds."""
        has_one_trial = len(self.settings) <= 1 and not self.neighbourhoods
        return (
            self.prunes
            and has_one_trial
            and self.objectives[0].curve is not None
            and not self.prunes_by_seeds
        )

    def require_valid(self) -> list[Recipe]:
        """Check the space at a random point and at the known points, and the objectives there.

        Returns:
            The recipes of these points, in all settings and with all values of the knobs.

        Raises:
            ConfigurationError: a point has no recipe, a known point is not in the space, or an
                objective has no value for a result such as a trial writes.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        points = self._at_random()
        labels: dict[str, str] = {}
        for label, point in self.known.items():
            fixed = optuna.trial.FixedTrial(dict(point))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # Optuna warns of a value beyond its bounds
                    recipe = self.recipe(fixed)
            except (ConfigurationError, optuna.TrialPruned) as error:
                raise ConfigurationError(
                    f"study {self.name}, known point {label!r}: {error}"
                ) from error
            if unused := set(point) - set(fixed.params):
                raise ConfigurationError(
                    f"study {self.name}, known point {label!r}: the space has no parameter "
                    f"{', '.join(sorted(unused))}; remove it from the point"
                )
            other = labels.setdefault(configuration_id(recipe), label)
            if other != label:
                raise ConfigurationError(
                    f"study {self.name}: known points {other!r} and {label!r} have the same "
                    "recipe; remove one of them"
                )
            points.append(recipe)
        recipes = [variant.recipe for point in points for variant in self.variants(point)]
        for found in points if self.confirmation_settings else ():
            self.variants(found, unseen=True)
        self.require_values(recipes)
        return recipes

    def require_values(self, recipes: Iterable[Recipe], data_dir: Path | None = None) -> None:
        """Require that objectives and limits have values; see `Objective.require_value`."""
        limited = [constraint.value for constraint in self.constraints]
        for recipe, objective in product(recipes, [*self.objectives, *limited]):
            try:
                objective.require_value(recipe, data_dir)
            except ConfigurationError as error:
                raise ConfigurationError(f"study {self.name}: {error}") from error

    def _at_random(self) -> list[Recipe]:
        """Return the recipe of the first random point that can be trained, if any.

        A search passes over the others, too.

        Raises:
            SpaceError: the space failed at a point.
            ConfigurationError: no point can be trained, and the space does not prune all of them.
        """
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        first: ConfigurationError | None = None
        for _ in range(_TRIES):
            try:
                recipe = self.recipe(study.ask())
                self.variants(recipe)
                if self.confirmation_settings:
                    self.variants(recipe, unseen=True)
            except optuna.TrialPruned:
                continue
            except (SpaceError, DatabaseError):
                raise
            except ConfigurationError as error:
                first = first or error
                continue
            return [recipe]
        if first is not None:
            raise first
        return []
