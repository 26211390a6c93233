"""Comparison of methods over common seeds, and the methods that no other significantly beats."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import SETTING, completed, highest, rounding_of
from analysis.statistics.intervals import t_interval


def compare_methods(
    selected: pd.DataFrame, trials: pd.DataFrame, metric: Metric = ACCURACY
) -> pd.DataFrame:
    """Compare the test scores of each pair of methods at their selected rho0.

    The seed determines initial weights and data order of both methods, so differences are paired by
    seed.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        metric: what they are compared by.

    Returns:
        One row for each pair of methods on a set in a setting, with the columns dataset, model,
        regime, set, further axes, and
            method, other: `method` has the higher mean.
            seeds: number of seeds that both have finished.
            difference: mean of method minus other over these seeds.
            low, high: its 95 % interval (paired Student's t); missing for a single seed.
            improvement: probability that a run of `method` beats one of `other`, over all pairs of
                runs, with ties counted as one half (Agarwal et al., 2021).
    """
    keys = [*SETTING, "set", *axis_columns(selected)]
    runs = _runs(selected, trials, metric)
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


def with_leaders(
    rows: pd.DataFrame, trials: pd.DataFrame, keys: Sequence[str], metric: Metric = ACCURACY
) -> pd.DataFrame:
    """Add the columns `leads`, which marks rows that no row of their group beats, and `wins`.

    Leading are the row with the highest mean test score, and every row whose difference from it
    has a 95 % interval (Student's t, paired by seed) that contains zero. No row of a group leads if
    no two of its rows have two seeds in common. A row wins if it leads alone, and the interval of
    its difference from every other row of the group excludes zero.

    Args:
        rows: result of `aggregate.configurations` or `selection.select`.
        trials: the trials behind them.
        keys: columns that define a group.
        metric: what the trials are compared by.
    """
    runs = _runs(rows, trials, metric)
    leads: set[Hashable] = set()
    wins: set[Hashable] = set()
    for _, part in rows[rows["n"] > 0].groupby(list(keys), sort=False, dropna=False):
        best = highest(part)["configuration_id"]
        others = [name for name in part["configuration_id"] if name != best]
        paired = [_paired(runs[best], runs[other]) for other in others]
        seeds, means, stds = np.array(paired, dtype=float).reshape(-1, 3).T
        low, _ = t_interval(means, stds, seeds)
        equal = rounding_of(part["test_mean"])
        leads |= {name for name, end in zip(others, low, strict=True) if end <= equal}
        leads |= {best} if not np.isnan(low).all() else set()
        wins |= {best} if len(others) and (low > equal).all() else set()
    known = rows["configuration_id"]
    return rows.assign(leads=known.isin(leads), wins=known.isin(wins))


def _runs(
    rows: pd.DataFrame, trials: pd.DataFrame, metric: Metric
) -> Mapping[Hashable, Mapping[float, float]]:
    """Configuration -> seed -> test score."""
    finished = completed(trials)
    runs: dict[Hashable, dict[float, float]] = {name: {} for name in rows["configuration_id"]}
    columns = finished[["configuration_id", "seed"]].assign(score=metric.scores(finished, "test"))
    for configuration, seed, score in columns.itertuples(index=False):
        if configuration in runs:
            runs[configuration][seed] = score
    return runs


def _paired(own: Mapping[float, float], others: Mapping[float, float]) -> tuple[int, float, float]:
    """Number of common seeds, and mean and standard deviation (ddof = 1) of their differences."""
    differences = np.array([value - others[seed] for seed, value in own.items() if seed in others])
    count = len(differences)
    mean = float(differences.mean()) if count else float("nan")
    return count, mean, float(differences.std(ddof=1)) if count > 1 else float("nan")


def probability_of_improvement(own: ArrayLike, others: ArrayLike) -> float:
    """Probability that a value of `own` exceeds one of `others`, with ties counted as one half.

    This is Mann and Whitney's U divided by the number of pairs.

    Args:
        own: (n,).
        others: (m,).
    """
    differences = np.subtract.outer(np.asarray(own, float), np.asarray(others, float))
    return float((np.sign(differences).mean() + 1) / 2)
