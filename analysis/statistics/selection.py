"""Choosing rho0: by validation accuracy, or as the papers do, and what that flatters."""

from collections.abc import Hashable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.aggregate import completed, family_keys, highest

Split = Literal["validation", "test"]


def select(table: pd.DataFrame, wanted: Split = "validation") -> pd.DataFrame:
    """One row for each configuration up to its rho0: the one of the highest mean.

    Rows without a finished trial are left out, and those of which more seeds diverged than of
    others; of equal ones, the first stays. A column `chosen_on` says on which split: the wanted one
    where all finished trials of all rho0 have such an accuracy, else test; it is empty where there
    was nothing to choose.

    Args:
        table: what `aggregate.configurations` gives.
        wanted: ``"validation"``, with which the test accuracies of a row played no part in choosing
            it, or ``"test"``, the papers' way, which is optimistic (see `optimism`).
    """
    rows, chosen_on = [], []
    for part in _families(table):
        is_there = wanted == "test" or (part["validation_n"] == part["n"]).all()
        split: Split = wanted if is_there else "test"
        rows.append(_best(part, split))
        chosen_on.append(split if len(part) > 1 else "")
    return table.loc[rows].reset_index(drop=True).assign(chosen_on=chosen_on)


def _families(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Finished configurations that differ in nothing but rho0."""
    finished = table[table["n"] > 0]
    for _, part in finished.groupby(family_keys(table), sort=False):
        yield part


def _best(part: pd.DataFrame, split: Split) -> Hashable:
    """Index of the row with the highest mean, of those with the fewest diverged seeds."""
    steady = part[part["diverged"] == part["diverged"].min()]
    return highest(steady.fillna({f"{split}_mean": -1.0}), f"{split}_mean").name


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
