"""Join tables of trials: the same trial in two of them is counted once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import AXIS_PREFIX, RECIPE_PREFIX, axis_columns
from analysis.knobs.columns import knob_columns, with_knobs_of_methods, with_one_label
from analysis.metric import ACCURACY, Metric
from analysis.schema import SchemaError, validate_trials
from analysis.text import brief

By = Literal["sweep", "tag"]
"""What keeps trials apart that would otherwise be those of one sweep."""

_RANKS = {
    "COMPLETE": 0,
    "DIVERGED": 0,
    "STOPPED": 1,
    "FAILED": 2,
    "RUNNING": 3,
    "INTERRUPTED": 4,
    "WAITING": 5,
}
"""State -> its rank; of a trial that is in several tables, the row with the lowest counts."""
_LABELS = ("dataset", "model", "regime", "method", "set", "rho0")
"""Columns that name a configuration; those of further axes do, too."""
_AND = " + "
"""Stands between the names of sweeps that have the same trial."""
_MOST_SHOWN = 3
_PART = "part"


@dataclass(frozen=True)
class Part:
    """A table of trials that is joined with others."""

    name: str
    """What messages call it, such as its path."""
    trials: pd.DataFrame
    """Columns of `columns.trials_columns`."""
    tag: str = ""
    """The user's name for it; its own name if empty."""


@dataclass(frozen=True)
class Joined:
    """Several tables of trials in one."""

    trials: pd.DataFrame
    """One row for each trial, to be checked by `schema.validate_trials`."""
    parts: NDArray[np.intp]
    """(trials,): place in `names` of the table whose row counts."""
    names: tuple[str, ...]
    """Names of the tables, in the order in which their rows stand."""
    num_shared: int
    """Number of trials that are in several tables, and counted once."""
    differing: tuple[str, ...]
    """Names of the trials that have different results in two tables."""
    renamed: tuple[str, ...]
    """Names of the first trials of configurations that have other names in another table."""

    def notes(self) -> list[str]:
        """What a reader of the report should know, a phrase each."""
        notes = []
        if self.num_shared:
            notes.append(
                f"{_number(self.num_shared, 'trial')} in several sources, and counted once"
            )
        if self.differing:
            notes.append(
                f"{_number(len(self.differing), 'trial')} with different results in two sources, "
                f"of which that of the first in the alphabet counts: {_some(self.differing)}"
            )
        if self.renamed:
            notes.append(
                f"{_number(len(self.renamed), 'configuration')} with another method, set or axis "
                f"in another source, here with those of the first: {_some(self.renamed)}"
            )
        return notes


def join(parts: Sequence[Part], metric: Metric = ACCURACY, by: By | None = None) -> Joined:
    """Join tables of trials; the order of the tables has no effect.

    A trial is known by its `trial_id`. If it is in several tables, one row of it counts: that with
    a result before that of a trial which has not finished, and that of the first table in the order
    of their names. Its `sweep` names all sweeps that have it. A configuration has the method,
    set and axes of the first table, too.

    Args:
        parts: the tables, at least one.
        metric: what the trials are compared by.
        by: ``"sweep"`` or ``"tag"`` adds an axis of this name, so that trials of different sweeps,
            or of tables with different tags, are kept apart. A configuration that several have is
            named by all of them.

    Raises:
        SchemaError: a table does not follow the schema; one `trial_id` stands for different trials,
            or one `configuration_id` for configurations that may be different; or there already is
            such an axis.
    """
    parts = sorted(parts, key=lambda part: (part.name, part.tag))
    names = tuple(part.name for part in parts)
    whole = pd.concat(
        [_checked(part, metric).assign(**{_PART: place}) for place, part in enumerate(parts)],
        ignore_index=True,
    )
    axes = axis_columns(whole)
    further = axes + knob_columns(whole)
    whole[further] = whole[further].fillna("")
    whole = with_one_label(with_knobs_of_methods(whole))
    _require_same(whole, names)
    whole, renamed = _with_labels(whole, names, axes)
    if by is not None:
        whole = _kept_apart(whole, by, [part.tag or part.name for part in parts])
    whole["sweep"] = _together(whole, "trial_id", whole["sweep"])
    ranks = whole["state"].map(_RANKS)
    differing = _differing(whole[ranks == 0], parts)
    # A stable sort leaves the rows of one rank in the order of their tables.
    best = whole.iloc[np.argsort(ranks.to_numpy(), kind="stable")].drop_duplicates("trial_id")
    places = whole["trial_id"].drop_duplicates()
    trials = best.set_index("trial_id").loc[places].reset_index()[list(whole.columns)]
    tables = whole.groupby("trial_id", sort=False)[_PART].nunique()
    return Joined(
        trials.drop(columns=_PART),
        trials[_PART].to_numpy(np.intp),
        names,
        num_shared=int((tables > 1).sum()),
        differing=tuple(differing),
        renamed=tuple(renamed),
    )


def _checked(part: Part, metric: Metric) -> pd.DataFrame:
    """The table with plain types, without the axes that only the joined table can have."""
    try:
        checked = validate_trials(part.trials, metric)
    except SchemaError as error:
        raise SchemaError(f"{part.name}: {error}") from error
    return checked[[name for name in checked.columns if name in part.trials.columns]]


def _require_same(whole: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse ids that stand for different trials, such as numbers that begin anew in each table."""
    described = whole.drop_duplicates(["trial_id", "configuration_id", "seed"])
    again = described[described.duplicated("trial_id")]
    if len(again):
        trial = again["trial_id"].iloc[0]
        first, second = (row for _, row in described[described["trial_id"] == trial][:2].iterrows())
        raise SchemaError(
            f"trial_id {brief(trial)!r} is {brief(first['name'])!r} in {names[first[_PART]]} and "
            f"{brief(second['name'])!r} in {names[second[_PART]]}; give trials ids that are unique "
            "in all tables"
        )


def _with_labels(
    whole: pd.DataFrame, names: Sequence[str], axes: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Give each configuration the names of its first table; return also which had others."""
    labels = [*_LABELS, *axes]
    first = whole.drop_duplicates("configuration_id").set_index("configuration_id")
    given = first[labels].copy()
    for axis in axes:  # a sweep without the axis says nothing about it
        told = whole[whole[axis] != ""].drop_duplicates("configuration_id")
        values = told.set_index("configuration_id")[axis]
        given[axis] = values.reindex(given.index).fillna("")
    own = given.loc[whole["configuration_id"]].set_axis(whole.index)
    same = (own == whole[labels]) | (own.isna() & whole[labels].isna())
    same[list(axes)] |= whole[list(axes)] == ""
    other = whole[~same.all(axis=1)]
    if other.empty:
        return whole.assign(**{axis: own[axis] for axis in axes}), []
    settings = [name for name in whole.columns if name.startswith(RECIPE_PREFIX)]
    unknown = other[other[settings].isna().all(axis=1)]
    if len(unknown):
        row = unknown.iloc[0]
        theirs = first.loc[row["configuration_id"]]
        what = next(name for name in labels if not same[name].loc[unknown.index[0]])
        raise SchemaError(
            f"configuration_id {brief(row['configuration_id'])!r} has {what} {theirs[what]!r} in "
            f"{names[theirs[_PART]]} and {row[what]!r} in {names[row[_PART]]}; give each "
            "configuration an id of its own, or the same columns"
        )
    renamed = first.loc[other["configuration_id"].drop_duplicates(), "name"]
    return whole.assign(**{name: own[name] for name in labels}), list(renamed)


def _kept_apart(whole: pd.DataFrame, by: By, tags: Sequence[str]) -> pd.DataFrame:
    """Add the axis `by`; the value of a configuration names all that have it."""
    column = f"{AXIS_PREFIX}{by}"
    if column in whole:
        raise SchemaError(
            f"there already is an axis {by!r}, which keeps trials apart; do not ask for another"
        )
    own = whole["sweep"] if by == "sweep" else whole[_PART].map(dict(enumerate(tags)))
    return whole.assign(**{column: _together(whole, "configuration_id", own)})


def _together(whole: pd.DataFrame, key: str, values: pd.Series) -> pd.Series:
    """All values of the rows that have the same key, such as ``first + second``."""
    distinct = pd.DataFrame({"key": whole[key], "value": values}).drop_duplicates()
    several = distinct[distinct["key"].duplicated(keep=False)]
    joined: dict[Any, str] = {
        name: _AND.join(sorted({one for text in texts for one in text.split(_AND)}))
        for name, texts in several.groupby("key", sort=False)["value"]
    }
    return whole[key].map(joined).where(whole[key].isin(joined), values)


def _differing(results: pd.DataFrame, parts: Sequence[Part]) -> list[str]:
    """Names of the trials of which two tables have different results."""
    values = [
        name
        for name in results.columns
        if name.startswith(("test_", "validation_"))
        and all(name in part.trials.columns for part in parts)
    ]
    distinct = results.drop_duplicates(["trial_id", "state", *values])
    again = distinct.loc[distinct["trial_id"].duplicated(), "trial_id"].drop_duplicates()
    return list(results.drop_duplicates("trial_id").set_index("trial_id").loc[again, "name"])


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(brief(name) for name in names[:_MOST_SHOWN])
    return shown + (f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else "")
