"""Ties: scores that are equal but for the rounding of floating-point numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.aggregate import ROUNDING

_DIGITS = 9
"""Digits after the first one. Means of the same values in another order agree in more."""


def rounding_between(scores: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """The largest difference of each score from another one that may be due to rounding.

    Args:
        scores: of any shape.
        others: of the same shape, or one for all.
    """
    sizes = np.maximum(np.abs(np.asarray(scores, float)), np.abs(np.asarray(others, float)))
    roundings: NDArray[np.float64] = ROUNDING * sizes
    return roundings


def with_ties(scores: ArrayLike) -> NDArray[np.float64]:
    """The scores with so few digits that those which differ by rounding only become equal.

    Each score is rounded by its own size. Other scores do not matter, such as those of another task
    or of a method that nearly diverged, whose loss may be larger by many orders of magnitude.

    Args:
        scores: of any shape; missing and infinite ones stay as they are.
    """
    values = np.asarray(scores, float)
    short = [float(f"{value:.{_DIGITS}e}") for value in values.ravel()]
    return np.array(short, float).reshape(values.shape)
