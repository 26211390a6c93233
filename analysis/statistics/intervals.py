"""Numbers -> confidence intervals of their mean; arrays in, arrays out."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
"""Bootstrap resamples wherever this package draws any."""

Floats = NDArray[np.float64]


def t_interval(
    mean: ArrayLike, std: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Student's interval of a mean; exact for normal values.

    Args:
        mean: sample means, any shape.
        std: sample standard deviations with ddof = 1, same shape.
        n: numbers of values, same shape.
        confidence: nominal coverage.

    Returns:
        Lower and upper ends, same shape; NaN where n < 2.
    """
    mean, std, n = np.asarray(mean, float), np.asarray(std, float), np.asarray(n, float)
    enough = np.where(n >= 2, n, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, enough - 1) * std / np.sqrt(enough)
    return mean - half, mean + half


def bootstrap_interval(
    values: ArrayLike, rng: np.random.Generator, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean of each row.

    It needs no normal values, and is too narrow for few of them; `bootstrap_coverage` says by how
    much.

    Args:
        values: (groups, n).
        rng: where resamples are drawn from.
        confidence: nominal coverage.

    Returns:
        Lower and upper ends, each (groups,); NaN if n < 2.
    """
    values = np.asarray(values, float)
    groups, n = values.shape
    if n < 2 or groups == 0:
        return np.full(groups, np.nan), np.full(groups, np.nan)
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        batch=100,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        rng=rng,
    )
    return result.confidence_interval.low, result.confidence_interval.high


@cache
def bootstrap_coverage(n: int, repetitions: int = 2000) -> float:
    """How often `bootstrap_interval` holds the true mean of n normal values, by simulation."""
    rng = np.random.default_rng(n)
    low, high = bootstrap_interval(rng.standard_normal((repetitions, n)), rng)
    return float(np.mean((low <= 0) & (high >= 0)))
