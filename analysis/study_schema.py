"""The tidy table of a study's configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.schema import SchemaError

OBJECTIVE_PREFIX: Final = "objective."
"""What a configuration came to stands in columns ``objective.<name>``; missing unless COMPLETE."""
PARAMETER_PREFIX: Final = "param."
"""Its parameters stand in columns ``param.<name>``; missing where it has no such parameter."""

CONFIGURATIONS: Final[Mapping[str, str]] = {
    "configuration": "its number in the study, from 0",
    "label": "what the study calls it; empty unless it was known before",
    "state": "COMPLETE, PRUNED, FAIL or RUNNING, as Optuna has it; INTERRUPTED, not RUNNING, where "
    "no driver is at it",
    "seeds": "finished trials, one a seed",
    "epochs": "of all its trials, finished or not",
    "seconds": "training time of all its trials",
    "on_front": "whether no other is better in one objective and as good in all",
}
"""Column -> meaning; one row a configuration."""


def is_fraction(objective: str) -> bool:
    """Whether people are shown an objective in percent, as all accuracies are."""
    return "accuracy" in objective


@dataclass(frozen=True)
class StudyMeasurements:
    """What a study has found so far."""

    configurations: pd.DataFrame
    """As `CONFIGURATIONS` says."""
    objectives: Mapping[str, str]
    """Name -> ``maximize`` or ``minimize``; the first is that by which one is called the best."""
    maps: pd.DataFrame
    """The winner's maps, and those of the known points, as `schema.MAPS` says."""
    standing: Sequence[str]
    """How the study stands, in sentences."""
    winner: str
    """What the configuration is called that is shown first."""
    formula: str
    """Of the winner, in lines."""
    snippet: str
    """Python that makes the winner."""

    def __post_init__(self) -> None:
        wanted = [*CONFIGURATIONS, *(f"{OBJECTIVE_PREFIX}{name}" for name in self.objectives)]
        missing = [column for column in wanted if column not in self.configurations]
        if missing:
            raise SchemaError(f"configurations: no column {missing[0]!r}; must have {wanted}")

    @property
    def ranked(self) -> pd.DataFrame:
        """COMPLETE configurations, the best in the first objective first."""
        name, direction = next(iter(self.objectives.items()))
        complete = self.configurations[self.configurations["state"] == "COMPLETE"]
        return complete.sort_values(
            [f"{OBJECTIVE_PREFIX}{name}", "configuration"],
            ascending=[direction == "minimize", True],
        )
