"""Trials -> configurations: mean and standard deviation over seeds, and what is missing."""

import pandas as pd

from analysis.schema import AXIS_PREFIX, validate_trials

KEYS = ("dataset", "model", "regime", "method", "set", "rho0")
"""What tells configurations apart in tables; a sweep's further axes join them."""


def axis_columns(trials: pd.DataFrame) -> list[str]:
    """The columns of a sweep's further axes."""
    return [str(column) for column in trials.columns if str(column).startswith(AXIS_PREFIX)]


def configurations(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration, in the order of the trials.

    Accuracies are averaged over COMPLETE trials only, and the row says how many there are: `n`
    complete, `diverged`, `failed`, and `unfinished` (running or waiting), which add up to `seeds`.
    Standard deviations have ddof = 1; they are missing for a single trial.

    Columns: the keys, further axes, configuration_id, seeds, n, diverged, failed, unfinished, and
    mean and std of the validation and test accuracy, as fractions.
    """
    trials = validate_trials(trials)
    keys = [*KEYS, *axis_columns(trials), "configuration_id"]
    groups = trials.groupby(keys, sort=False, dropna=False)
    table = groups.agg(seeds=("seed", "size"))
    for column, states in (
        ("n", ["COMPLETE"]),
        ("diverged", ["DIVERGED"]),
        ("failed", ["FAILED"]),
        ("unfinished", ["RUNNING", "WAITING"]),
    ):
        counted = trials.assign(counted=trials["state"].isin(states))
        table[column] = counted.groupby(keys, sort=False, dropna=False)["counted"].sum()
    only_complete = trials.assign(
        **{
            column: trials[column].where(trials["state"] == "COMPLETE")
            for column in ("validation_accuracy", "test_accuracy")
        }
    )
    complete = only_complete.groupby(keys, sort=False, dropna=False)
    for split in ("validation", "test"):
        table[f"{split}_mean"] = complete[f"{split}_accuracy"].mean()
        table[f"{split}_std"] = complete[f"{split}_accuracy"].std(ddof=1)
    return table.reset_index()


def best_rho0(table: pd.DataFrame, split: str = "validation") -> pd.DataFrame:
    """One row for each configuration up to its rho0: the one of the highest mean.

    Rows without a finished trial are left out; of equal ones, the first stays.

    Args:
        table: what `configurations` gives.
        split: ``"validation"``, with which the test accuracies of a row played no part in choosing
            it, or ``"test"``, the papers' way, which is optimistic.
    """
    keys = [key for key in KEYS if key != "rho0"]
    keys += [str(column) for column in table.columns if str(column).startswith(AXIS_PREFIX)]
    finished = table[table["n"] > 0]
    chosen = finished.groupby(keys, sort=False, dropna=False)[f"{split}_mean"].idxmax()
    return finished.loc[chosen].reset_index(drop=True)
