"""Forecast: after how many seeds an open question is expected to be decided."""

import math

import numpy as np
from scipy import stats

from analysis.deciding.answers import TIE_SHARE, Floats, quantiles, variance_of
from analysis.deciding.looks import FEWEST_SEEDS, looks
from analysis.statistics.ties import same_differences


def of_range(scores: Floats, margin: float, first: int, most: int) -> int | None:
    """Seeds of the first later look that decides if the means and the noise stay as they are.

    Args:
        scores: (rho0, seeds), those of the last look.
        margin: range up to which the method is stable.
        first: number of seeds of the first look.
        most: largest number of seeds.

    Returns:
        The number; None if no look up to `most` is expected to decide, or if all seeds have
        the same differences.
    """
    choices, seeds = scores.shape
    means = scores.mean(axis=1)
    range_ = float(means.max() - means.min())
    deviation = math.sqrt(variance_of(scores[None])[0])
    for look in () if same_differences(scores) else looks(first, most):
        if look.seeds > seeds:
            below, above = quantiles(choices, look.seeds, look.error_rate)
            unit = deviation / math.sqrt(look.seeds)
            low, high = range_ - below * unit, range_ + above * unit
            if high <= margin or low > margin or (low > 0 and range_ <= margin):
                return look.seeds
    return None


def of_difference(scores: Floats, margin: float, first: int, most: int) -> int | None:
    """The same for two methods, if as large a share of the seeds diverges as so far.

    Args:
        scores: (2, seeds), those of both methods at the last look; NaN for seeds that diverged.
        margin: see `answers.on_differences`.
        first: see `of_range`.
        most: see `of_range`.
    """
    seeds = scores.shape[1]
    both = scores[:, ~np.isnan(scores).any(axis=0)]
    differences = both[0] - both[1]
    known = len(differences)
    if known < FEWEST_SEEDS:
        return None
    mean, deviation = abs(float(differences.mean())), float(differences.std(ddof=1))
    for look in () if same_differences(both) else looks(first, most):
        if look.seeds > seeds:
            n = known * look.seeds // seeds
            half = float(stats.t.ppf(1 - look.error_rate / 2, n - 1)) * deviation / math.sqrt(n)
            if half < mean or mean + half <= TIE_SHARE * margin:
                return look.seeds
    return None
