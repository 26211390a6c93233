"""The knobs of the configurations of a sweep, and the configurations that differ in some of them.

A method with several knobs is looked at from its chosen configuration: the others keep their values
when one knob, or a pair of them, takes all of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.knobs.columns import column_of, knob_columns, knobs_of, values_of
from analysis.knobs.knob import RHO0, Knob, knob_column
from analysis.rounding import rho0_labels
from analysis.statistics.aggregate import family_keys, without_tuned
from analysis.statistics.selection import Split, select

_ROUNDING = 1e-9
"""Relative error of the end of a range."""


@dataclass(frozen=True)
class KnobSettings:
    """The configurations of a sweep, with the values of their knobs."""

    table: pd.DataFrame
    """Result of `aggregate.configurations`, with an index from 0. The columns of axes are empty for
    methods of which the axis is a knob; for each knob, the column of its name in `value` has the
    places or numbers, and that in `label` the text."""
    trials: pd.DataFrame
    """The trials behind it."""
    knobs: tuple[Knob, ...]
    """All knobs, each with the widest range that a method has."""
    select_on: Split
    """The split on which configurations are chosen."""

    def value(self, knob: Knob) -> str:
        """Column of the table with the numbers of a knob, which are NaN for other methods."""
        return f"value of {knob.name}"

    def label(self, knob: Knob) -> str:
        """Column of the table with the values of a knob as text."""
        return f"label of {knob.name}"

    @cached_property
    def families(self) -> list[str]:
        """Columns that are the same for the configurations of a method that differ in knobs."""
        return family_keys(self.table)

    @cached_property
    def of_method(self) -> dict[tuple[str, str], Knob]:
        """Method and name of a knob -> the knob with the range that the method has."""
        return {
            (str(method), knob.name): knob
            for method, part in self.trials.groupby("method", sort=False)
            for knob in knobs_of(part)
        }

    def around_chosen(self, varied: Sequence[Knob]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The configurations in which only some knobs differ from the chosen one.

        Configurations with a value outside the range of its knob are not among them.

        Args:
            varied: the knobs that differ; only methods that have all of them are returned.

        Returns:
            Rows of the table, and those of the chosen configuration of each family: that with the
            best mean score, see `selection.select`, or the first one if none has finished.
        """
        known = self.table[self.table[list(map(self.value, varied))].notna().all(axis=1)]
        for knob in self.knobs:
            known = known[self.is_within(known, knob)]
        chosen = select(known, self.select_on, self.families)
        first = known.drop_duplicates(self.families)
        chosen = pd.concat([chosen, first]).drop_duplicates(self.families)
        others = [self.value(knob) for knob in self.knobs if knob not in varied]
        keys = [*self.families, *others]
        # Missing values are equal here: a method without a knob has no value of it anywhere.
        return known.merge(chosen[keys], on=keys), chosen

    def is_within(self, table: pd.DataFrame, knob: Knob) -> pd.Series:
        """Whether the values of a knob are in the range of their method, or missing."""
        ranges = {method: of for (method, name), of in self.of_method.items() if name == knob.name}
        lows = {method: of.low for method, of in ranges.items() if of.low is not None}
        highs = {method: of.high for method, of in ranges.items() if of.high is not None}
        low = table["method"].map(lows).astype(float).fillna(-np.inf)
        high = table["method"].map(highs).astype(float).fillna(np.inf)
        values = table[self.value(knob)]
        is_below = values < low - _ROUNDING * low.abs()
        return ~(is_below | (values > high + _ROUNDING * high.abs()))

    def trials_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The trials of some configurations, with the columns of keys that these have."""
        keys = table.set_index("configuration_id")[[*self.families, "rho0"]]
        trials = self.trials[self.trials["configuration_id"].isin(keys.index)]
        of = {name: trials["configuration_id"].map(keys[name]) for name in keys.columns}
        return trials.assign(**of)


def knob_settings(
    table: pd.DataFrame, trials: pd.DataFrame, select_on: Split = "validation"
) -> KnobSettings:
    """Find the knobs of the configurations of a sweep, and their values.

    Args:
        table: result of `aggregate.configurations`.
        trials: the trials behind it, with the columns of `knobs.knob`.
        select_on: see `KnobSettings`.
    """
    knobs = knobs_of(trials)
    texts = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    texts = texts[knob_columns(trials)].reindex(table["configuration_id"])
    table = table.reset_index(drop=True)
    columns: dict[str, pd.Series] = {}
    of_rho0 = rho0_labels(table["rho0"])
    for knob in knobs:
        column = column_of(knob)
        values = pd.Series(values_of(table, knob))
        has = values.notna() if knob.name == RHO0.name else texts[knob_column(knob.name)] != ""
        has = pd.Series(np.asarray(has)) & values.notna()
        labels = table[column].map(of_rho0) if knob.name == RHO0.name else table[column]
        columns[f"value of {knob.name}"] = values.where(has)
        columns[f"label of {knob.name}"] = labels.where(has, "")
    return KnobSettings(without_tuned(table.assign(**columns), trials), trials, knobs, select_on)
