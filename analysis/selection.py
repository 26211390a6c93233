"""Choosing rho0: by validation accuracy, or as the papers do, and what that flatters."""

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.aggregate import SETTING, completed, family_keys

Split = Literal["validation", "test"]


def split_of(table: pd.DataFrame, wanted: Split) -> Split:
    """The split that rho0 can be chosen on: test where nothing was held out for validation."""
    finished = table[table["n"] > 0]
    return wanted if finished[f"{wanted}_mean"].notna().all() else "test"


def best_rho0(table: pd.DataFrame, split: Split = "validation") -> pd.DataFrame:
    """One row for each configuration up to its rho0: the one of the highest mean.

    Rows without a finished trial are left out; of equal ones, the first stays.

    Args:
        table: what `aggregate.configurations` gives.
        split: ``"validation"``, with which the test accuracies of a row played no part in choosing
            it, or ``"test"``, the papers' way, which is optimistic (see `optimism`).
    """
    finished = table[table["n"] > 0]
    chosen = finished.groupby(family_keys(table), sort=False, dropna=False)[f"{split}_mean"]
    return finished.loc[chosen.idxmax()].reset_index(drop=True)


def select(table: pd.DataFrame, wanted: Split = "validation") -> pd.DataFrame:
    """`best_rho0` in each setting on its own, by `split_of`; a column `chosen_on` says which."""
    parts = []
    for _, part in table[table["n"] > 0].groupby(list(SETTING), sort=False):
        split = split_of(part, wanted)
        parts.append(best_rho0(part, split).assign(chosen_on=split))
    if not parts:
        return table[table["n"] > 0].assign(chosen_on="")
    return pd.concat(parts, ignore_index=True)


def optimism(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a method, set and setting with a choice of rho0: the optimism of best-of-test.

    Each seed is left out once, rho0 is chosen by the mean test accuracy of the others, and the
    accuracy of the one left out is read off there. Without any real difference between the rho0,
    the mean of these is unbiased, and what it lacks to the best mean is the winner's luck. That all
    share one set of test images is not seen in it. Seeds that are not COMPLETE at every rho0 are
    left aside; with fewer than two, the estimate is missing.

    Columns: the keys up to rho0, choices (how many rho0), seeds, best_of_test, left_out, optimism.
    """
    keys = family_keys(trials)
    rows: list[dict[Hashable, Any]] = []
    annealed = completed(trials).dropna(subset="rho0")
    accuracies = annealed.groupby([*keys, "rho0", "seed"], sort=False)["test_accuracy"].mean()
    for key, part in accuracies.groupby(keys, sort=False):
        by_seed = part.droplevel([*keys]).unstack("rho0")
        if by_seed.shape[1] < 2:
            continue
        complete = by_seed.dropna().to_numpy()
        best, left_out = best_of_test(complete)
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "choices": by_seed.shape[1],
                "seeds": len(complete),
                "best_of_test": best,
                "left_out": left_out,
                "optimism": best - left_out,
            }
        )
    columns = [*keys, "choices", "seeds", "best_of_test", "left_out", "optimism"]
    return pd.DataFrame(rows, columns=columns)


def best_of_test(accuracies: NDArray[np.float64]) -> tuple[float, float]:
    """The best mean of test accuracies, and the mean of seeds that had no part in choosing it.

    Args:
        accuracies: (seeds, choices).

    Returns:
        Both as fractions; NaN for fewer than two seeds.
    """
    seeds = len(accuracies)
    if seeds < 2:
        return float("nan"), float("nan")
    others = (accuracies.sum(axis=0) - accuracies) / (seeds - 1)
    ties = others == others.max(axis=1, keepdims=True)  # with equal ones, a draw
    left_out = (np.where(ties, accuracies, 0).sum(axis=1) / ties.sum(axis=1)).mean()
    return float(accuracies.mean(axis=0).max()), float(left_out)
