"""Confidence intervals of a mean, by Student's t and by the bootstrap."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
"""Number of resamples of every bootstrap in this package."""

Floats = NDArray[np.float64]


def t_interval(
    mean: ArrayLike, std: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Student's t interval of a mean, which is exact for normally distributed values.

    Args:
        mean: sample means, any shape.
        std: sample standard deviations with ddof = 1, same shape as `mean`.
        n: numbers of values, same shape as `mean`.
        confidence: nominal coverage.

    Returns:
        Lower and upper limits, same shape as `mean`; NaN if n < 2.
    """
    mean, std, n = np.asarray(mean, float), np.asarray(std, float), np.asarray(n, float)
    enough = np.where(n >= 2, n, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, enough - 1) * std / np.sqrt(enough)
    return mean - half, mean + half


def bootstrap_interval(
    values: ArrayLike, rng: np.random.Generator, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean of each row.

    It does not assume a normal distribution, but is too narrow for few values; `bootstrap_coverage`
    gives its real coverage.

    Args:
        values: (groups, n).
        rng: generator that draws the resamples.
        confidence: nominal coverage.

    Returns:
        Lower and upper limits, each (groups,); NaN if n < 2.
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
    """Simulated probability that `bootstrap_interval` contains the mean of a normal distribution.

    Args:
        n: number of values in a sample.
        repetitions: number of simulated samples.
    """
    rng = np.random.default_rng(n)
    low, high = bootstrap_interval(rng.standard_normal((repetitions, n)), rng)
    return float(np.mean((low <= 0) & (high >= 0)))
