"""Ranks of methods over tasks, and the difference of mean ranks that is significant."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.aggregate import ROUNDING
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.ties import with_ties

Floats = NDArray[np.float64]

_FEWEST = 3
"""Methods from which on Friedman's test is defined."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over tasks."""

    mean: Floats
    """(methods,), mean rank over tasks; 1 is the best."""
    p: float
    """P value of Friedman's test that all methods are equally good. It is missing for fewer than
    three methods, if all scores are equal, and with `critical`."""
    critical: float
    """Difference of two mean ranks from which on it is significant, by Nemenyi's test; missing if
    there are too few tasks for any difference to be."""


def ranks(scores: Floats, *, is_scaled: bool = False) -> Ranks:
    """Rank methods on each task, test whether they differ, and which pairs do.

    The tests are those that Demsar recommends (Statistical Comparisons of Classifiers over Multiple
    Data Sets, JMLR 2006, section 3.2). They are exact for many tasks only, and cautious for few.

    Args:
        scores: (methods, tasks), for at least two methods; equal ones share their ranks. Tasks may
            have scores of very different size.
        is_scaled: whether 0 is guessing and 1 the best that is expected. What is at 0 but for
            rounding is then at 0.
    """
    methods, tasks = scores.shape
    if is_scaled:
        scores = np.where(np.abs(scores) <= ROUNDING, 0.0, scores)
    scores = with_ties(scores)
    mean: Floats = stats.rankdata(-scores, axis=0).mean(axis=1)
    critical = critical_difference(methods, tasks)
    if methods < _FEWEST or critical >= methods - 1:
        return Ranks(mean, np.nan, np.nan)
    with np.errstate(invalid="ignore"):  # 0 / 0 if all scores are equal
        p = float(stats.friedmanchisquare(*scores).pvalue)
    return Ranks(mean, p, critical)


@cache
def critical_difference(methods: int, tasks: int) -> float:
    """Difference of mean ranks from which on two of several methods differ (Nemenyi).

    Args:
        methods: number of methods that are compared.
        tasks: number of tasks over which ranks were averaged.
    """
    width = float(stats.studentized_range.ppf(CONFIDENCE, methods, np.inf))
    return width * float(np.sqrt(methods * (methods + 1) / (12 * tasks)))
