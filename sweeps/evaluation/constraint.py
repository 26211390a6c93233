"""Constraint: a limit that the configurations of a search must keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantlab import ConfigurationError, Recipe
from quantlab.errors import brief
from quantlab.plain_values import require_number
from sweeps.objective import Objective
from sweeps.plain_values import items_of


@dataclass(frozen=True)
class Constraint:
    """A limit of a value: `FILE_BYTES` of at most 5,000, for example.

    A configuration keeps it if each of its complete trials does. A trial that diverged has no such
    value, and is judged by the objectives alone.
    """

    value: Objective
    """What is limited, such as `sweeps.study.FILE_BYTES`. If smaller values are better, as the
    objective's direction says, the limit is the largest one allowed; otherwise, the smallest."""
    limit: float
    """The limit, which is itself allowed, in the unit of the objective: an accuracy is a
    fraction."""

    def __post_init__(self) -> None:
        if not isinstance(self.value, Objective):
            raise ConfigurationError(
                f"Constraint.value = {brief(self.value)}: must be an Objective, such as FILE_BYTES"
            )
        limit = require_number(self, "limit", least=-float("inf"))
        object.__setattr__(self, "limit", float(limit))

    @property
    def name(self) -> str:
        """Name of the constraint in Optuna's storage and in tables: that of the value."""
        return self.value.name

    def excess(self, recipe: Recipe, result: Mapping[str, Any]) -> float:
        """Return by how much a COMPLETE trial exceeds the limit; at most 0 if it keeps it.

        Args:
            recipe: the trial's recipe.
            result: the fields of its ``result.json``.

        Raises:
            ConfigurationError: see `Objective.value`.
        """
        beyond = self.value.value(recipe, result) - self.limit
        return beyond if self.value.direction == "minimize" else -beyond

    def text(self, excess: float) -> str:
        """Say how a limit is exceeded, such as ``bytes of the file 5,431 > 5,000``.

        Args:
            excess: see `excess`.
        """
        shown, is_most = self.value.shown, self.value.direction == "minimize"
        found = self.limit + (excess if is_most else -excess)
        sign = ">" if is_most else "<"
        return f"{self.name} {shown.shown(found)} {sign} {shown.shown(self.limit)}"


def constraints_of(values: object) -> tuple[Constraint, ...]:
    """Return the constraints of a study.

    Args:
        values: the value of `sweeps.study.StudySpec.constraints`.

    Raises:
        ConfigurationError: it is no sequence of constraints, or two of them have one name.
    """
    where = "StudySpec.constraints"
    constraints = items_of(values, Constraint, where, "(Constraint(FILE_BYTES, 5000),)")
    names = [constraint.name for constraint in constraints]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{where} = {names}: must limit each value once")
    return constraints
