"""What a choice of rho0 costs, and how likely each one is to be the best."""

from collections.abc import Hashable
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import KEYS, completed, family_keys, places_by
from analysis.statistics.intervals import NUM_RESAMPLES

_SEED = 20211
_ROUNDING = 1e-12

Floats = NDArray[np.float64]


def regrets(table: pd.DataFrame, trials: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Regret of each rho0: how far its mean test score is below that of the best rho0.

    Args:
        table: result of `aggregate.configurations`.
        trials: the trials behind the table.
        metric: what they are compared by.

    Returns:
        One row for each configuration with a rho0 and a finished trial. Its columns are the keys,
        further axes, n, test_mean, regret and p_best (probability over resampled seeds
        that this rho0 is the best).
    """
    keys = family_keys(table)
    probabilities = probabilities_best(trials, keys, metric)
    finished = table[(table["n"] > 0) & table["rho0"].notna()]
    best = finished.groupby(keys, sort=False)["test_mean"].transform("max")
    p_best = [
        probabilities.get(tuple(row[:-1]), {}).get(row[-1], np.nan)
        for row in finished[[*keys, "rho0"]].itertuples(index=False)
    ]
    columns = [*KEYS, *axis_columns(table), "n", "test_mean"]
    found = finished[columns].assign(regret=best - finished["test_mean"], p_best=p_best)
    return found.reset_index(drop=True)


def probabilities_best(
    trials: pd.DataFrame, keys: list[str], metric: Metric = ACCURACY
) -> dict[tuple[Hashable, ...], dict[float, float]]:
    """Method, set and setting -> rho0 -> probability over resampled seeds that it is the best.

    Args:
        trials: columns of `columns.TRIALS`.
        keys: result of `aggregate.family_keys`.
        metric: what the trials are compared by.
    """
    found = scores_by_rho0(trials, keys, metric)
    scores = tuple(tuple(own.tobytes() for own in by_rho0.values()) for by_rho0 in found.values())
    return {
        key: dict(zip(by_rho0, own, strict=True))
        for (key, by_rho0), own in zip(found.items(), _probabilities(scores), strict=True)
    }


@lru_cache(maxsize=16)  # a report asks twice for each knob
def _probabilities(scores: tuple[tuple[bytes, ...], ...]) -> list[list[float]]:
    """The result of `probability_best` for several families, whose scores are those of arrays."""
    rng = np.random.default_rng(_SEED)
    return [probability_best(list(map(np.frombuffer, family)), rng) for family in scores]


def probability_best(values: list[Floats], rng: np.random.Generator) -> list[float]:
    """Bootstrap probability that each choice has the highest mean.

    The seeds of each choice are resampled independently, with replacement; equal means share the
    probability.

    Args:
        values: for each choice, the scores of its seeds.
        rng: generator that draws the resamples.

    Returns:
        One probability per choice; all are NaN if a choice has a single seed, which has no spread
        to resample.
    """
    if min(map(len, values)) < 2:
        return [float("nan")] * len(values)
    means = np.stack(
        [own[rng.integers(len(own), size=(NUM_RESAMPLES, len(own)))].mean(axis=1) for own in values]
    )
    # Means of the same values in another order may differ by rounding.
    best = means.max(axis=0)  # its size counts: another loss may have exploded
    is_best = means >= best - _ROUNDING * np.abs(best)
    return [float(share) for share in (is_best / is_best.sum(axis=0)).mean(axis=1)]


def scores_by_rho0(
    trials: pd.DataFrame, keys: list[str], metric: Metric = ACCURACY
) -> dict[tuple[Hashable, ...], dict[float, Floats]]:
    """Method, set and setting -> rho0 -> test scores of its COMPLETE seeds.

    Args:
        trials: columns of `columns.TRIALS`.
        keys: result of `aggregate.family_keys`.
        metric: what the trials are compared by.
    """
    annealed = completed(trials).dropna(subset="rho0")
    all_rho0 = annealed["rho0"].to_numpy(float)
    all_scores = metric.scores(annealed, "test").to_numpy(float)
    result = {}
    for key, rows in places_by(annealed, keys):
        rho0, places = np.unique(all_rho0[rows], return_inverse=True)
        scores = all_scores[rows]
        result[key] = {value: scores[places == at] for at, value in enumerate(rho0.tolist())}
    return result
