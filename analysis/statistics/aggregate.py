"""Trials -> configurations: mean, deviation and intervals over seeds, and what is missing."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from analysis.schema import axes_of, validate_trials
from analysis.statistics.intervals import bootstrap_interval, t_interval

SETTING = ("dataset", "model", "regime")
"""Accuracies of different settings are never put together."""
KEYS = (*SETTING, "method", "set", "rho0")
"""What tells configurations apart in tables; a sweep's further axes join them."""
SPLITS = ("validation", "test")

COUNTS = {
    "n": ("COMPLETE",),
    "diverged": ("DIVERGED",),
    "failed": ("FAILED",),
    "stopped": ("STOPPED",),
    "unfinished": ("RUNNING", "INTERRUPTED", "WAITING"),
}
"""Column -> states that it counts; every state is in one of them."""
WITHOUT = ("diverged", "failed", "stopped", "unfinished", "absent")
"""Columns that count seeds without an accuracy."""
ROUNDING = 9
"""Decimals of a fraction in which accuracies are told apart."""
_SEED = 20210
"""Of the resamples: the same table gives the same intervals."""


def axis_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a sweep's further axes."""
    return axes_of(frame)


def family_keys(frame: pd.DataFrame) -> list[str]:
    """What configurations have in common that differ in nothing but rho0."""
    return [*(key for key in KEYS if key != "rho0"), *axis_columns(frame)]


def configurations(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration, in the order of the trials.

    Accuracies are averaged over COMPLETE trials only, and the row says how many there are: `n`
    complete, `diverged`, `failed`, `stopped` (put out of a study's race) and `unfinished` (running,
    interrupted or waiting), which add up to `seeds`. `absent` counts seeds of which there is no
    trial at all although the method has them elsewhere in the same setting. Standard deviations
    have ddof = 1; they and the intervals are missing for a single trial.

    Columns: the keys, further axes, configuration_id, seeds, n, those of `WITHOUT`, validation_n
    (complete trials with a validation accuracy), mean and std of the validation and test accuracy,
    and both intervals of the mean test accuracy at 95 % (test_t_low, test_t_high,
    test_bootstrap_low, test_bootstrap_high), all as fractions.
    """
    trials = validate_trials(trials)
    keys = [*KEYS, *axis_columns(trials), "configuration_id"]
    place = trials.groupby(keys, sort=False, dropna=False).ngroup()
    table = trials.groupby(place)[keys].first()
    table["seeds"] = place.value_counts().sort_index()
    for column, states in COUNTS.items():
        table[column] = trials["state"].isin(states).groupby(place).sum()
    have = trials.groupby([*SETTING, "method"])["seed"].transform("nunique")
    table["absent"] = (have.groupby(place).first() - table["seeds"]).clip(lower=0)
    complete = completed(trials)
    finished = complete.groupby(place)
    for split in SPLITS:
        table[f"{split}_mean"] = finished[f"{split}_accuracy"].mean()
        table[f"{split}_std"] = finished[f"{split}_accuracy"].std(ddof=1)
    table["validation_n"] = finished["validation_accuracy"].count()
    table["validation_n"] = table["validation_n"].fillna(0).astype(int)
    low, high = t_interval(table["test_mean"], table["test_std"], table["n"])
    table = table.assign(test_t_low=low, test_t_high=high)
    return _with_bootstrap(table, dict(iter(finished["test_accuracy"])))


def highest(rows: pd.DataFrame, column: str = "test_mean") -> pd.Series:
    """The row with the highest value of a column; of equal ones, the first.

    Means of the same values in another order are equal but for rounding.
    """
    return rows.iloc[int(rows[column].round(ROUNDING).to_numpy().argmax())]


def completed(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials whose accuracies count."""
    return trials[trials["state"] == "COMPLETE"]


def _with_bootstrap(table: pd.DataFrame, values: Mapping[Hashable, pd.Series]) -> pd.DataFrame:
    """The intervals of each configuration, all with equally many values at once."""
    rng = np.random.default_rng(_SEED)
    ends = np.full((len(table), 2), np.nan)
    sizes = table["n"].to_numpy()
    for n in np.unique(sizes[sizes > 1]):
        rows = np.flatnonzero(sizes == n)
        ends[rows] = np.transpose(bootstrap_interval([values[row] for row in rows], rng))
    return table.assign(test_bootstrap_low=ends[:, 0], test_bootstrap_high=ends[:, 1])
