"""The table of a study's configurations, with one row for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from analysis.metric import Metric
from analysis.schema import SchemaError

OBJECTIVE_PREFIX: Final = "objective."
"""Objective values are columns named ``objective.<name>``; missing unless COMPLETE."""
PARAMETER_PREFIX: Final = "param."
"""Parameters are columns named ``param.<name>``; missing if a configuration lacks the parameter."""

CONFIGURATIONS: Final[Mapping[str, str]] = {
    "configuration": "number of the configuration in the study, from 0",
    "label": "label of a known point of the study; empty for all other configurations",
    "state": "Optuna's COMPLETE, PRUNED, FAIL or RUNNING; INTERRUPTED instead of RUNNING if no "
    "driver works on it, and INFEASIBLE if it has ended and exceeds a limit",
    "seeds": "number of seeds all of whose trials have finished",
    "epochs": "epochs of all its trials, finished or not",
    "seconds": "training time of all its trials, in seconds",
    "on_front": "whether it is Pareto optimal: no other is better in one objective and "
    "at least as good in all others",
}
"""Column -> meaning; one row per configuration."""


VARIANTS: Final[Mapping[str, str]] = {
    "configuration": "name of the configuration",
    "trials": "number of its finished trials in this setting and with these values of the knobs",
    "mean": "mean of the first objective over these trials",
    "worst": "worst value among them",
}
"""Column -> meaning; one row per configuration, setting and values of knobs. The columns between
the first two name the setting and the values."""


@dataclass(frozen=True)
class StudyMeasurements:
    """The results of a study so far.

    Raises:
        SchemaError: a column of `configurations` is missing.
    """

    configurations: pd.DataFrame
    """Columns of `CONFIGURATIONS`, of the objectives, and of the parameters."""
    objectives: Sequence[Metric]
    """Their names are in `OBJECTIVE_PREFIX` columns; the first ranks the configurations."""
    maps: pd.DataFrame
    """Proximal maps of the winner and of the known points; columns of `columns.MAPS`."""
    standing: Sequence[str]
    """Sentences on the progress of the study."""
    winner: str
    """Name of the configuration shown first."""
    formula: str
    """The winner's quantizer as formulas, one per line."""
    snippet: str
    """Python code that makes the winner."""

    variants: pd.DataFrame = field(default_factory=pd.DataFrame)
    """The winner and the known points in all settings and with all values of the knobs; columns of
    `VARIANTS`. Empty if the study has neither."""

    def __post_init__(self) -> None:
        wanted = [
            *CONFIGURATIONS,
            *(f"{OBJECTIVE_PREFIX}{objective.name}" for objective in self.objectives),
        ]
        missing = [column for column in wanted if column not in self.configurations]
        if missing:
            raise SchemaError(
                f"configurations: column {missing[0]!r} is missing; the table needs "
                f"{', '.join(wanted)}"
            )

    @property
    def ranked(self) -> pd.DataFrame:
        """COMPLETE configurations, ordered by the first objective from the best to the worst."""
        first = self.objectives[0]
        complete = self.configurations[self.configurations["state"] == "COMPLETE"]
        return complete.sort_values(
            [f"{OBJECTIVE_PREFIX}{first.name}", "configuration"],
            ascending=[not first.higher_is_better, True],
        )
