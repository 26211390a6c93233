"""Method against method, over the seeds that both have, and who leads when luck is counted."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.statistics.aggregate import ROUNDING, SETTING, axis_columns, completed, highest
from analysis.statistics.intervals import t_interval


def compare_methods(selected: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of methods, set and setting: each at its selected rho0, test accuracies.

    The seed sets initial weights and data order of both, so that differences are taken seed by
    seed. Columns, beside dataset, model, regime, set and further axes:
        method, other: the first is the one with the higher mean.
        seeds: how many both have finished.
        difference: mean of method less other.
        low, high: its 95 % interval by Student's t over the differences; missing for one seed.
        improvement: probability that a run of `method` beats one of `other`, over all pairs of
            their runs, a tie counting half (Agarwal et al., 2021).

    Args:
        selected: what `selection.select` gives.
        trials: what it was made of.
    """
    keys = [*SETTING, "set", *axis_columns(selected)]
    runs = _runs(selected, trials)
    rows = []
    for key, part in selected[selected["set"] != ""].groupby(keys, sort=False):
        ordered = part.sort_values("test_mean", ascending=False, kind="stable")
        where = dict(zip(keys, key, strict=True))
        for first, second in combinations(ordered.itertuples(), 2):
            own, others = runs[first.configuration_id], runs[second.configuration_id]
            seeds, mean, std = _paired(own, others)
            rows.append(
                {
                    **where,
                    "method": first.method,
                    "other": second.method,
                    "seeds": seeds,
                    "difference": mean,
                    "std": std,
                    "improvement": probability_of_improvement([*own.values()], [*others.values()]),
                }
            )
    columns = ["method", "other", "seeds", "difference", "std", "improvement"]
    found = pd.DataFrame(rows, columns=[*keys, *columns])
    low, high = t_interval(found["difference"], found["std"], found["seeds"])
    found = found.assign(low=low, high=high)
    columns = ["method", "other", "seeds", "difference", "low", "high", "improvement"]
    return found[[*keys, *columns]]


def with_leaders(rows: pd.DataFrame, trials: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The rows with a column `leads`: which ones of a group nothing is shown to beat.

    These are the row with the highest mean test accuracy, and those whose difference from it has a
    95 % interval (Student's t over the seeds that both have) that holds zero. Where no two rows of
    a group have two seeds in common, nothing can be told and nobody leads.

    Args:
        rows: such as `aggregate.configurations` or `selection.select` give.
        trials: what they were made of.
        keys: columns that the rows of a group have in common.
    """
    runs = _runs(rows, trials)
    leads: set[Hashable] = set()
    for _, part in rows[rows["n"] > 0].groupby(list(keys), sort=False, dropna=False):
        best = highest(part)["configuration_id"]
        others = [name for name in part["configuration_id"] if name != best]
        paired = [_paired(runs[best], runs[other]) for other in others]
        seeds, means, stds = np.array(paired, dtype=float).reshape(-1, 3).T
        low, _ = t_interval(means, stds, seeds)
        leads |= {name for name, end in zip(others, low, strict=True) if end <= 10.0**-ROUNDING}
        leads |= {best} if not np.isnan(low).all() else set()
    return rows.assign(leads=rows["configuration_id"].isin(leads))


def _runs(rows: pd.DataFrame, trials: pd.DataFrame) -> Mapping[Hashable, Mapping[float, float]]:
    """Configuration -> seed -> test accuracy."""
    finished = completed(trials)
    runs: dict[Hashable, dict[float, float]] = {name: {} for name in rows["configuration_id"]}
    columns = finished[["configuration_id", "seed", "test_accuracy"]]
    for configuration, seed, accuracy in columns.itertuples(index=False):
        if configuration in runs:
            runs[configuration][seed] = accuracy
    return runs


def _paired(own: Mapping[float, float], others: Mapping[float, float]) -> tuple[int, float, float]:
    """How many seeds both have, and mean and standard deviation (ddof = 1) of the difference."""
    differences = np.array([value - others[seed] for seed, value in own.items() if seed in others])
    count = len(differences)
    mean = float(differences.mean()) if count else float("nan")
    return count, mean, float(differences.std(ddof=1)) if count > 1 else float("nan")


def probability_of_improvement(own: ArrayLike, others: ArrayLike) -> float:
    """Mann and Whitney's U as a share: how often a value of one beats one of the other."""
    differences = np.subtract.outer(np.asarray(own, float), np.asarray(others, float))
    return float((np.sign(differences).mean() + 1) / 2)
