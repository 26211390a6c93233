"""Recipes without the trained weights that they need, which may not exist yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from quantlab.initial_weights import InitialWeights
from quantlab.recipe import Recipe


@dataclass(frozen=True)
class _Untrained(InitialWeights):
    """The weights that a network is built with."""

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Do nothing."""

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Do nothing."""


def without_trained_weights(recipe: Recipe) -> Recipe:
    """Return a recipe that takes the same time, and needs the weights of no other network.

    Args:
        recipe: any recipe.
    """
    distillation = recipe.distillation
    if distillation is not None:
        distillation = replace(distillation, teacher=_Untrained())
    return replace(recipe, initial_weights=None, distillation=distillation)
