"""Method against method, over the seeds that both have."""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from analysis.aggregate import SETTING, axis_columns, completed
from analysis.intervals import t_interval


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
    finished = completed(trials).groupby("configuration_id")
    runs = {
        configuration: finished.get_group(configuration).groupby("seed")["test_accuracy"].mean()
        for configuration in selected["configuration_id"]
    }
    rows = []
    for key, part in selected[selected["set"] != ""].groupby(keys, sort=False):
        ordered = part.sort_values("test_mean", ascending=False, kind="stable")
        for first, second in combinations(ordered.itertuples(), 2):
            own, others = runs[first.configuration_id], runs[second.configuration_id]
            paired = (own - others).dropna()
            low, high = t_interval(paired.mean(), paired.std(ddof=1), len(paired))
            rows.append(
                {
                    **dict(zip(keys, key, strict=True)),
                    "method": first.method,
                    "other": second.method,
                    "seeds": len(paired),
                    "difference": paired.mean(),
                    "low": float(low),
                    "high": float(high),
                    "improvement": probability_of_improvement(own, others),
                }
            )
    columns = ["method", "other", "seeds", "difference", "low", "high", "improvement"]
    return pd.DataFrame(rows, columns=[*keys, *columns])


def probability_of_improvement(own: ArrayLike, others: ArrayLike) -> float:
    """Mann and Whitney's U as a share: how often a value of one beats one of the other."""
    own, others = np.asarray(own, float), np.asarray(others, float)
    wins = stats.mannwhitneyu(own, others).statistic
    return float(wins / (len(own) * len(others)))
