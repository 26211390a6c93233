"""Networks of other trials that have the seed of the trial that needs them."""

from collections.abc import Callable
from dataclasses import replace

from quantlab import ConfigurationError, Recipe, override
from quantlab.errors import brief
from quantlab.initial_weights import TrialWeights


def with_networks_of_its_seed(
    recipe: Recipe,
    *,
    starts_from: Recipe | None,
    taught_by: Recipe | None,
    identity: Callable[[Recipe], str],
) -> Recipe:
    """Return a recipe that starts from, and learns from, the trials of its own seed.

    Args:
        recipe: the recipe of a trial.
        starts_from: recipe of the trials to start from; None to leave the initial weights.
        taught_by: recipe of the teachers; None to leave the teacher.
        identity: gives the name of a trial.

    Raises:
        ConfigurationError: if the recipe has initial weights of its own besides `starts_from`, or
            no distillation besides `taught_by`.
    """
    if starts_from is not None:
        if recipe.initial_weights is not None:
            raise ConfigurationError(
                f"initial_weights = {brief(recipe.initial_weights)}: must be None, because the "
                "block starts from the trials of starts_from"
            )
        other = override(starts_from, "seed", recipe.seed)
        recipe = override(recipe, "initial_weights", TrialWeights(identity(other)))
    if taught_by is not None:
        if recipe.distillation is None:
            raise ConfigurationError(
                "distillation = None: must be a Distillation(...), because the block is taught by "
                "the trials of taught_by"
            )
        other = override(taught_by, "seed", recipe.seed)
        teacher = TrialWeights(identity(other))
        own = replace(recipe.distillation, teacher=teacher, model=other.model)
        recipe = override(recipe, "distillation", own)
    return recipe
