"""The interaction in a grid of two knobs: its test, and its size with limits."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.aggregate import ROUNDING
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.ties import same_differences

Floats = NDArray[np.float64]

_SEED = 20212
_DRAWS = 20_000
_MOST_NUMBERS = 20_000_000
"""Numbers that are drawn for a critical value; large grids have fewer draws."""


@dataclass(frozen=True)
class Interaction:
    """The interaction in a grid; the numbers are NaN if it cannot be tested."""

    p: float
    """P value of no interaction."""
    size: float
    """The largest double difference: (mean at i', j' - mean at i, j') - (mean at i', j - mean at i,
    j), of which the sign is dropped."""
    size_low: float
    """Lower 95 % limit of the largest true double difference."""
    size_high: float
    """Upper 95 % limit of it."""
    first: tuple[int, int] = (0, 0)
    """Places i and i' of the values of the first knob."""
    second: tuple[int, int] = (0, 0)
    """Places j and j' of those of the second knob."""
    change: float = float("nan")
    """Mean at i', j minus mean at i, j."""
    other_change: float = float("nan")
    """Mean at i', j' minus mean at i, j'."""


_NAN = float("nan")
_UNTESTED = Interaction(p=_NAN, size=_NAN, size_low=_NAN, size_high=_NAN)


def interaction_of(scores: Floats) -> Interaction:
    """Test whether the effects of two knobs add up, and measure by how much they do not.

    The test is the ANOVA-type statistic of Brunner, Dette and Munk, "Box-type approximations in
    nonparametric factorial designs" (JASA 92, 1997), which does not assume that the variance over
    seeds is the same in all cells. If all cells have the same seeds, the mean of each seed over the
    cells is subtracted first: a seed that is good everywhere is no noise of an interaction.

    The limits of the size are simultaneous for all double differences (Bradu and Gabriel,
    "Simultaneous statistical inference on interactions in two-way analysis of variance", JASA 69,
    1974), and so hold for the largest, too. The standard error of each is that of equal variances,
    or that of its own four cells if this is larger. The docs have the errors that remain.

    Args:
        scores: (values of the first knob, values of the second, seeds), at least two values of
            each; NaN where a seed has no score.
    """
    shape = scores.shape[:2]
    counts = (~np.isnan(scores)).sum(axis=2)
    if counts.min() < 2:
        return _UNTESTED
    means = np.nanmean(scores, axis=2)
    cells, n = counts.size, counts.ravel().astype(float)
    is_whole = bool((counts == scores.shape[2]).all())
    centred = scores - scores.mean(axis=(0, 1)) if is_whole else scores
    inner = np.nansum((centred - np.nanmean(centred, axis=2)[..., None]) ** 2, axis=2).ravel()
    # A seed's mean takes its share of every cell's squares, and degrees of freedom of all.
    degrees = float((cells - 1) * (scores.shape[2] - 1) if is_whole else (n - 1).sum())
    variances = inner / (n - 1) * (cells / (cells - 1) if is_whole else 1.0)
    effects = _without_mean(_without_mean(means).T).T
    sizes = np.abs(double_differences(means))
    if _is_exact(scores.reshape(cells, -1)):  # such as networks that all stay at chance
        is_none = (sizes <= ROUNDING * _of_corners(np.abs(means))).all()
        return Interaction(p=1.0, size=0.0, size_low=0.0, size_high=0.0) if is_none else _UNTESTED
    p = _p_of(effects, variances / n, n)
    pooled = float(inner.sum()) / degrees
    errors = np.sqrt(
        np.maximum(
            _of_corners(pooled / n.reshape(shape)), _of_corners((variances / n).reshape(shape))
        )
    )
    half = critical_value(*shape, degrees) * errors
    largest = int(sizes.argmax())
    rows, columns = (list(combinations(range(length), 2)) for length in shape)
    (i, k), (j, m) = rows[largest // len(columns)], columns[largest % len(columns)]
    return Interaction(
        p=p,
        size=float(sizes.max()),
        size_low=max(float((sizes - half).max()), 0.0),
        size_high=float((sizes + half).max()),
        first=(i, k),
        second=(j, m),
        change=float(means[k, j] - means[i, j]),
        other_change=float(means[k, m] - means[i, m]),
    )


def _is_exact(scores: Floats) -> bool:
    """Whether seeds have no noise but for rounding.

    Args:
        scores: (cells, seeds), NaN where a seed has no score.
    """
    if not np.isnan(scores).any():  # a seed may be good everywhere
        return bool(same_differences(scores))
    known = (own[~np.isnan(own)] for own in scores)
    return all(bool(same_differences([own, np.zeros_like(own)])) for own in known)


def double_differences(means: Floats) -> Floats:
    """All double differences of the entries of a matrix.

    Args:
        means: (rows, columns).

    Returns:
        (pairs of rows * pairs of columns,): for i < k and j < m, the entries (k, m) - (i, m) -
        (k, j) + (i, j).
    """
    of_rows = _pairs(means, -1.0)
    return _pairs(of_rows.T, -1.0).T.ravel()


def _of_corners(values: Floats) -> Floats:
    """The sum of the four entries of each double difference."""
    return _pairs(_pairs(values, 1.0).T, 1.0).T.ravel()


def _pairs(values: Floats, sign: float) -> Floats:
    """Each later row plus, or minus, each earlier one."""
    first, second = np.triu_indices(len(values), 1)
    added: Floats = values[second] + sign * values[first]
    return added


def _without_mean(values: Floats) -> Floats:
    centred: Floats = values - values.mean(axis=0)
    return centred


def _p_of(effects: Floats, variances: Floats, n: Floats) -> float:
    """P value of the ANOVA-type statistic.

    Args:
        effects: (rows, columns), what the means have beyond sums of a row's and a column's effect.
        variances: (cells,), of the means.
        n: (cells,), numbers of seeds.
    """
    rows, columns = effects.shape
    shares = np.kron(np.eye(rows) - 1 / rows, np.eye(columns) - 1 / columns)
    own = np.diag(shares) * variances
    trace = float(own.sum())
    degrees = trace**2 / float(variances @ shares**2 @ variances)
    of_noise = trace**2 / float((own**2 / (n - 1)).sum())
    return float(stats.f.sf(float((effects**2).sum()) / trace, degrees, of_noise))


@cache
def critical_value(rows: int, columns: int, degrees: float) -> float:
    """The 95 % quantile of the largest double difference of noise, in standard errors.

    The noise is normal, and its variance is estimated with the given degrees of freedom. The
    quantile is simulated, always with the same random numbers.
    """
    rng = np.random.default_rng(_SEED)
    draws = min(_DRAWS, _MOST_NUMBERS // (rows * columns * min(rows, columns)))
    noise = rng.standard_normal((max(rows, columns), min(rows, columns), draws))
    largest = np.zeros(draws)
    for first, second in combinations(range(noise.shape[1]), 2):
        differences = noise[:, second] - noise[:, first]
        largest = np.maximum(largest, np.ptp(differences, axis=0))
    deviations = np.sqrt(rng.chisquare(degrees, draws) / degrees)
    return float(np.quantile(largest / deviations, CONFIDENCE)) / 2
