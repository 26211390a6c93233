"""Configurations: mean, standard deviation and confidence intervals over the seeds of a recipe."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.columns import ADDED, AXIS_PREFIX, axis_columns
from analysis.knobs.columns import knob_columns
from analysis.knobs.knob import KNOB_PREFIX
from analysis.metric import ACCURACY, Metric
from analysis.schema import validate_trials
from analysis.statistics.intervals import bootstrap_interval, t_interval
from analysis.training_axes import TRAINING

Integers = NDArray[np.intp]

SETTING = ("dataset", "model", "regime")
"""Columns of a setting; results of different settings are never aggregated."""
KEYS = (*SETTING, "method", "set", "rho0")
"""Columns that identify a configuration, together with the columns of further axes."""
SPLITS = ("validation", "test")

COUNTS = {
    "n": ("COMPLETE",),
    "diverged": ("DIVERGED",),
    "failed": ("FAILED",),
    "stopped": ("STOPPED",),
    "unfinished": ("RUNNING", "INTERRUPTED", "WAITING"),
}
"""Column -> states that it counts; every state is counted in exactly one column."""
WITHOUT = ("diverged", "failed", "stopped", "unfinished", "absent")
"""Columns that count seeds without a result."""
OPEN = tuple(column for column in WITHOUT if column != "diverged")
"""Columns that count seeds whose result is still unknown."""
ROUNDING = 1e-9
"""Share of the larger of two scores below which their difference may be due to rounding."""
_SEED = 20210
"""Seed of the bootstrap, so that the same table gives the same intervals."""


def family_keys(frame: pd.DataFrame) -> list[str]:
    """Columns whose values are the same for configurations that differ only in rho0."""
    return [*(key for key in KEYS if key != "rho0"), *axis_columns(frame)]


def task_keys(frame: pd.DataFrame) -> list[str]:
    """Columns of a task: the setting, the set, and axes of trials that were trained differently.

    Further axes of a sweep are not part of it.

    Args:
        frame: a table with `columns.axis_columns`.
    """
    apart = {f"{AXIS_PREFIX}{name}" for name in TRAINING}
    return [*SETTING, "set", *(axis for axis in axis_columns(frame) if axis in apart)]


def without_tuned(table: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The table with an empty text for every axis that is a knob, as one value of it is chosen.

    An axis may be a knob of one method only: the rows of the others keep its values, which set them
    apart. Axes that are empty everywhere are left out.

    Args:
        table: the trials, or one row for each of some configurations, with `configuration_id`.
        trials: checked columns of `columns.trials_columns`.
    """
    columns = knob_columns(trials)
    if not columns:
        return table
    first = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    texts = first[columns].reindex(table["configuration_id"]).set_axis(table.index)
    is_knob = {
        f"{AXIS_PREFIX}{name.removeprefix(KNOB_PREFIX)}": texts[name] != "" for name in columns
    }
    axes = [axis for axis in axis_columns(table) if axis in is_knob]
    table = table.assign(**{axis: table[axis].mask(is_knob[axis], "") for axis in axes})
    return table.drop(columns=[axis for axis in axis_columns(table) if (table[axis] == "").all()])


def configurations(trials: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Aggregate the trials of each configuration over their seeds.

    Scores are averaged over COMPLETE trials only. Those of accuracies are the accuracies
    themselves; see `metric.Metric`.

    Args:
        trials: columns of `columns.trials_columns`.
        metric: what the trials are compared by.

    Returns:
        One row per configuration, in the order of the trials. The columns are `KEYS`, further axes,
        configuration_id, and
            seeds: number of trials.
            n, diverged, failed, stopped, unfinished: numbers of trials by state; they sum to seeds.
            absent: number of seeds without a trial here that the method has at another rho0, or
                another value of a further axis that is a knob of it, with the same set and other
                axes. Trials that were added to those of a sweep do not count.
            validation_n: number of COMPLETE trials with a validation score.
            validation_mean, validation_std, test_mean, test_std: of the scores; the standard
                deviation has ddof = 1 and is missing for a single trial.
            test_t_low, test_t_high: 95 % interval of the mean test score (Student's t).
            test_bootstrap_low, test_bootstrap_high: the same by the percentile bootstrap.

    Raises:
        SchemaError: the table of trials does not follow the schema.
    """
    trials = validate_trials(trials, metric)
    keys = [*KEYS, *axis_columns(trials), "configuration_id"]
    place = trials.groupby(keys, sort=False, dropna=False).ngroup()
    table = trials.groupby(place)[keys].first()
    table["seeds"] = place.value_counts().sort_index()
    for column, states in COUNTS.items():
        table[column] = trials["state"].isin(states).groupby(place).sum()
    own = trials["seed"].where(trials[ADDED] == "") if ADDED in trials else trials["seed"]
    grid = without_tuned(trials, trials)
    have = own.groupby([grid[key] for key in family_keys(grid)]).transform("nunique")
    table["absent"] = (have.groupby(place).first() - own.groupby(place).count()).clip(lower=0)
    complete = completed(trials)
    scores = {split: metric.scores(complete, split).groupby(place) for split in SPLITS}
    for split, of_split in scores.items():
        table[f"{split}_mean"] = of_split.mean()
        table[f"{split}_std"] = of_split.std(ddof=1)
    table["validation_n"] = scores["validation"].count()
    table["validation_n"] = table["validation_n"].fillna(0).astype(int)
    low, high = t_interval(table["test_mean"], table["test_std"], table["n"])
    table = table.assign(test_t_low=low, test_t_high=high)
    return _with_bootstrap(table, dict(iter(scores["test"])))


def highest(rows: pd.DataFrame, column: str = "test_mean") -> pd.Series:
    """The row with the highest value of a column, or the first of several with equal values.

    A value that differs from the highest by less than its share `ROUNDING` is equal to it, as means
    of the same values in another order may differ by rounding. A missing value is lower than any
    other.
    """
    return rows.iloc[place_of_highest(rows[column])]


def place_of_highest(values: ArrayLike) -> int:
    """The place of the value that `highest` takes."""
    values = np.asarray(values, float)
    known = np.where(np.isnan(values), -np.inf, values)
    highest_value = float(known.max())  # its size counts: another loss may have exploded
    rounding = ROUNDING * abs(highest_value) if np.isfinite(highest_value) else 0.0
    return int((known >= highest_value - rounding).argmax())


def places_of_highest(values: ArrayLike, groups: NDArray[np.integer[Any]]) -> Integers:
    """The place of the value that `highest` takes in each of some groups.

    Args:
        values: (rows,).
        groups: (rows,), the group of each row: numbers from 0 without a gap.

    Returns:
        (groups,), places among all rows.
    """
    values = np.asarray(values, float)
    known = np.where(np.isnan(values), -np.inf, values)
    highest_values = np.full(groups.max(initial=-1) + 1, -np.inf)
    np.maximum.at(highest_values, groups, known)
    rounding = ROUNDING * np.where(np.isfinite(highest_values), np.abs(highest_values), 0.0)
    places = np.flatnonzero(known >= (highest_values - rounding)[groups])
    first: Integers = places[np.unique(groups[places], return_index=True)[1]]
    return first


def first_known(values: ArrayLike) -> float:
    """The first of the values that is not missing; NaN if all are."""
    values = np.asarray(values, float)
    known = values[~np.isnan(values)]
    return float(known[0]) if known.size else float("nan")


def places_by(
    frame: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[tuple[Hashable, ...], Integers]]:
    """The places of the rows that have the same keys, in the order in which the keys occur.

    It is much faster than the groups of pandas if there are many and of few rows each.

    Args:
        frame: any table.
        keys: columns without missing values.

    Yields:
        The values of the keys, and the places (rows,) in the order of the table.
    """
    if frame.empty:
        return
    numbers = frame.groupby(list(keys), sort=False).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    first = frame[list(keys)].iloc[order[starts]]
    found = zip(*(first[key].tolist() for key in keys), strict=True)
    yield from zip(found, np.split(order, starts[1:]), strict=True)


def stacks_of(groups: NDArray[np.integer[Any]]) -> Iterator[tuple[Integers, Integers]]:
    """The places of the rows of each group; groups of equally many rows come together.

    Args:
        groups: (rows,), the group of each row: numbers from 0.

    Yields:
        Groups (stacked,) in ascending order, and the places of their rows (stacked, rows of a
        group) in the order of the table.
    """
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    first = np.cumsum(counts) - counts
    for count in np.unique(counts[counts > 0]):
        stacked = np.flatnonzero(counts == count)
        yield stacked, order[first[stacked, None] + np.arange(count)]


def completed(trials: pd.DataFrame) -> pd.DataFrame:
    """The COMPLETE trials."""
    return trials[trials["state"] == "COMPLETE"]


def _with_bootstrap(table: pd.DataFrame, values: Mapping[Hashable, pd.Series]) -> pd.DataFrame:
    """Add the bootstrap intervals; configurations with equal n are resampled together."""
    rng = np.random.default_rng(_SEED)
    ends = np.full((len(table), 2), np.nan)
    sizes = table["n"].to_numpy()
    for n in np.unique(sizes[sizes > 1]):
        rows = np.flatnonzero(sizes == n)
        ends[rows] = np.transpose(bootstrap_interval([values[row] for row in rows], rng))
    return table.assign(test_bootstrap_low=ends[:, 0], test_bootstrap_high=ends[:, 1])
