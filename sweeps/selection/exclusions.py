"""Exclusions: the trials that the conditions of --where leave out of a report."""

from collections.abc import Sequence

import pandas as pd

from analysis.joining.where import ConditionError, counts_by_method, fulfilled
from quantlab import ConfigurationError
from sweeps.printing.number_of import number_of


class Exclusions:
    """The conditions of ``--where``, and a sentence on what each of them left out."""

    def __init__(self, conditions: Sequence[str]) -> None:
        """Remember the conditions.

        Args:
            conditions: see `analysis.joining.where`; a trial must fulfil all of them.
        """
        self._conditions = conditions
        self.notes: list[str] = []
        """A sentence for each condition that left out trials, or would have."""

    def leave_out(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return the trials that fulfil all conditions, and note how many others there were.

        Args:
            trials: a table with the columns of `analysis.columns.trials_columns`.

        Raises:
            ConfigurationError: a condition is invalid, or no trial fulfils it.
        """
        for condition in self._conditions:
            try:
                kept = fulfilled(trials, condition)
            except ConditionError as error:
                raise ConfigurationError(f"--where {condition}: {error}") from error
            if not kept.any():
                number = number_of(len(trials), "trial")
                raise ConfigurationError(
                    f"--where {condition}: none of the {number} fulfils it; give a condition "
                    "that some fulfil"
                )
            others = trials[~kept]
            of = f": {counts_by_method(others)}" if len(others) else ""
            self.notes.append(
                f'--where "{condition}" leaves out {len(others)} of {len(trials)} trials{of}'
            )
            trials = trials[kept].reset_index(drop=True)
        return trials

    @property
    def facts(self) -> dict[str, str]:
        """The line of a report's head on what was left out; empty if there are no conditions."""
        return {"left out": "; ".join(self.notes)} if self.notes else {}

    def show(self) -> None:
        """Print the notes, and an empty line below them."""
        print("".join(f"{note}\n" for note in self.notes), end="\n" if self.notes else "")
