"""Answers of one look: from the scores of a question's seeds to an interval and an answer."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.statistics.intervals import t_interval
from analysis.statistics.ties import rounding_between, same_differences
from analysis.statistics.verdicts import FAILS, collapse_below

DIFFERS, TIE, OPEN = "differs", "tie", "open"
"""Answers on two methods."""
TIE_SHARE = 1 / 3
"""Share of the margin within which two methods are a tie."""

Floats = NDArray[np.float64]


class Answers(NamedTuple):
    """The answers to questions of one kind, and the intervals behind them; arrays (questions,)."""

    answer: NDArray[np.str_]
    estimate: Floats
    low: Floats
    high: Floats
    is_decided: NDArray[np.bool_]


def on_ranges(
    scores: Floats, margin: ArrayLike, error_rate: float, chance: ArrayLike = np.nan
) -> Answers:
    """Answer whether the rho0 of methods can be left untuned.

    The true range over rho0 is the difference of two of them, the truly best and the truly worst.
    It lies below the upper end of the interval with a probability of 1 - `error_rate`, which is the
    largest of all one-sided t limits of a difference: it is no lower than the limit of these two
    (an intersection-union test, as in Berger and Hsu, Statistical Science 11, 1996, section 3). It
    lies above the lower end with the same probability, which is that of Tukey's simultaneous
    intervals: the estimated range is the largest difference of many. Both compare the rho0 on the
    same seeds, so that a seed that is good or bad at every rho0 widens no interval, and are for
    noise that is the same at every rho0. As a bad rho0 often has more of it, the variance is that
    of `variance_of`.
    The answer is

        sensitive: if the whole interval exceeds the margin, or a trial has collapsed (see
            `verdicts.collapse_below`);
        fails: if no rho0 is better than guessing (see `verdicts.is_chance`);
        untested: if there is no interval, because all seeds have the same differences;
        stable: if no part of the interval exceeds the margin;
        mild: if it holds the margin, but not 0;
        noise: if it holds both.

    Noise and untested are not decided, nor is mild if the estimate exceeds the margin: the effect
    is real then, and further seeds tell whether it matters.

    Args:
        scores: (questions, rho0, seeds); at least two of each, all COMPLETE.
        margin: range up to which a method is stable, (questions,) or a number.
        error_rate: of this look.
        chance: score of guessing, in the same form; NaN if it is unknown.
    """
    questions, choices, seeds = scores.shape
    margin, chance = np.broadcast_to(margin, questions), np.broadcast_to(chance, questions)
    mean = scores.mean(axis=2)
    places = np.arange(questions)
    best = mean.argmax(axis=1)
    range_ = mean.max(axis=1) - mean.min(axis=1)
    variance = variance_of(scores)
    is_same = range_ <= rounding_between(mean.max(axis=1), mean.min(axis=1))
    exact = np.where(is_same, 0, np.nan)
    below, above = quantiles(choices, seeds, error_rate)
    unit = np.where(same_differences(scores), exact, np.sqrt(variance / seeds))
    low, high = np.maximum(range_ - below * unit, 0.0), range_ + above * unit
    floor = collapse_below(scores[places, best], margin, error_rate / 2 / ((choices - 1) * seeds))
    has_collapsed = (scores < floor[:, None, None]).any(axis=(1, 2))
    is_chance = mean.max(axis=1) - chance <= np.minimum(margin, np.abs(chance))
    answer = np.select(
        [
            has_collapsed | (low > margin),
            is_chance,
            np.isnan(high),
            high <= margin,
            low > 0,
        ],
        ["sensitive", FAILS, "untested", "stable", "mild"],
        "noise",
    )
    is_open = np.isin(answer, ("noise", "untested")) | ((answer == "mild") & (range_ > margin))
    return Answers(answer, range_, low, high, ~is_open)


def variance_of(scores: Floats) -> Floats:
    """Variance over seeds of a score, without what a seed adds to the scores of all rho0.

    That is the residual variance of all rho0 and seeds (a randomized block design), or half the
    variance of the differences between the best and the worst rho0 if it is larger.

    Args:
        scores: (questions, rho0, seeds).
    """
    mean = scores.mean(axis=2)
    centred = scores - mean[:, :, None]
    residuals = centred - centred.mean(axis=1, keepdims=True)
    _, choices, seeds = scores.shape
    of_all = (residuals**2).sum(axis=(1, 2)) / ((choices - 1) * (seeds - 1))
    ends = np.stack([mean.argmax(axis=1), mean.argmin(axis=1)], axis=1)
    of_ends = np.take_along_axis(scores, ends[:, :, None], axis=1)
    differences = of_ends[:, 0] - of_ends[:, 1]
    found: Floats = np.maximum(differences.var(axis=1, ddof=1) / 2, of_all)
    return found


def on_differences(scores: Floats, margin: ArrayLike, error_rate: float) -> Answers:
    """Answer whether two methods differ.

    They differ if Student's t interval of the mean difference of their seeds does not hold 0, and
    are a tie if it lies within `TIE_SHARE` of the margin around 0. Without an interval, because all
    seeds have the same difference, the question is open, unless the difference is 0.

    Args:
        scores: (questions, 2, seeds) of both methods on the same seeds; at least two seeds.
        margin: see `on_ranges`.
        error_rate: of this look.
    """
    differences = scores[:, 0] - scores[:, 1]
    mean, std = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    is_equal = (np.abs(differences) <= rounding_between(scores[:, 0], scores[:, 1])).all(axis=1)
    low, high = t_interval(mean, std, np.full(len(mean), scores.shape[2]), 1 - error_rate)
    is_unknown = same_differences(scores) & ~is_equal
    low, high = np.where(is_unknown, np.nan, low), np.where(is_unknown, np.nan, high)
    tie = TIE_SHARE * np.asarray(margin, float)
    is_tie = is_equal | (low >= -tie) & (high <= tie)
    differs = ~is_equal & ((low > 0) | (high < 0))
    answer = np.select([differs, is_tie], [DIFFERS, TIE], OPEN)
    return Answers(answer, mean, low, high, answer != OPEN)


@cache
def quantiles(choices: int, seeds: int, error_rate: float) -> tuple[float, float]:
    """How far the ends of the interval of a range are from it, in standard errors of a mean.

    Args:
        choices: number of means.
        seeds: number of seeds behind each of them, the same for all.
        error_rate: probability that one of the ends is wrong.

    Returns:
        The quantile of the studentized range for the lower end, and that of Student's t, times the
        square root of 2, for the upper end.
    """
    degrees = (choices - 1) * (seeds - 1)
    below = stats.studentized_range.ppf(1 - error_rate, choices, degrees)
    return float(below), float(stats.t.ppf(1 - error_rate, degrees) * np.sqrt(2))
