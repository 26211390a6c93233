"""The expected result of the best of few tries, by a closed formula."""

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.ties import rounding_between

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_BLOCK = 256
"""Numbers of tries that are computed together, which bounds the memory for many choices."""


def expected_values(values: Floats, failures: Floats, scores: Floats) -> Floats:
    """Expected value of the choice that is the best of n, for all n.

    The n choices are drawn at random without replacement. The best of them has the fewest failures
    and, among these, the highest score. Of several that are equally good, the first in the order of
    the draws is taken.

    Args:
        values: (choices, columns), what each choice yields; NaN if it is unknown.
        failures: (choices, columns), by which the choices are ordered first.
        scores: (choices, columns), by which they are ordered then; may be minus infinity.

    Returns:
        (choices, columns): row n - 1 has the expectations for n tries. It is NaN if a choice with
        an unknown value can be the best of n.
    """
    order, ties = ordered(failures, scores)
    return expected_best(_mean_of_ties(np.take_along_axis(values, order, axis=0), ties))


def ordered(failures: Floats, scores: Floats) -> tuple[Integers, Integers]:
    """The order of choices from the worst to the best, and the number of each one's tie.

    Scores that differ by rounding only are equal. It is the size of the two that tells, so that a
    choice whose loss exploded does not make others equal.

    Args:
        failures: (choices, columns).
        scores: (choices, columns).

    Returns:
        Both (choices, columns), in ascending order: places of the choices, and numbers from 0 that
        are the same for choices that are equally good.
    """
    order = np.lexsort((scores, -failures), axis=0)
    fewer = np.diff(np.take_along_axis(failures, order, axis=0), axis=0) != 0
    ascending = np.take_along_axis(scores, order, axis=0)
    known = np.isfinite(ascending)
    finite = np.where(known, ascending, 0.0)
    equal = rounding_between(finite[1:], finite[:-1])
    higher = (np.diff(finite, axis=0) > equal) | (known[1:] != known[:-1])
    ties = np.zeros(order.shape, dtype=np.intp)
    np.cumsum(fewer | higher, axis=0, out=ties[1:])
    return order, ties


def expected_best(ascending: Floats) -> Floats:
    """Expected value of the best of n choices without ties, drawn without replacement.

    Of K choices, the one of rank r (1 is the worst) is the best of n with the probability
    C(r - 1, n - 1) / C(K, n). Tied choices may have any order if each has the mean of their values.

    Args:
        ascending: (choices, columns), values in the order from the worst choice to the best; NaN if
            unknown.

    Returns:
        (choices, columns): row n - 1 has the expectations for n tries.
    """
    count = len(ascending)
    ranks = np.arange(1, count + 1)
    unknown = np.isnan(ascending)
    values = np.where(unknown, 0.0, ascending)
    expected = np.empty_like(values)
    first = np.full(count, 1 / count)
    for start in range(1, count + 1, _BLOCK):
        tries = np.arange(start, min(start + _BLOCK, count + 1))
        n = tries[:-1, None]
        chances = np.empty((len(tries), count))
        chances[0] = first
        chances[1:] = _ratio(n, ranks, count)
        np.cumprod(chances, axis=0, out=chances)
        rows = slice(start - 1, start - 1 + len(tries))
        expected[rows] = chances @ values
        if unknown.any():
            expected[rows][chances @ unknown > 0] = np.nan
        if tries[-1] < count:
            first = chances[-1] * _ratio(tries[-1], ranks, count)
    return expected


def _ratio(n: Integers, ranks: Integers, count: int) -> Floats:
    """The probability of each rank to be the best of n + 1, divided by that for n."""
    ratio: Floats = np.maximum(ranks - n, 0) * (n + 1) / (n * (count - n))
    return ratio


def _mean_of_ties(values: Floats, ties: Integers) -> Floats:
    """The values, with the mean of each tie in place of its own ones."""
    count, columns = values.shape
    if not count or (ties[-1] == count - 1).all():
        return values
    places = ties + count * np.arange(columns)
    flat = places.ravel()
    sums = np.bincount(flat, values.ravel(), minlength=count * columns)
    sizes = np.bincount(flat, minlength=count * columns)
    means: Floats = (sums / np.maximum(sizes, 1))[places]
    return means
