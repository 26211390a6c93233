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


def same_differences(scores: ArrayLike) -> NDArray[np.bool_]:
    """Whether the rows differ by the same amounts in all columns, but for rounding.

    It is the size of four scores that tells what rounding is in their double difference, so that
    noise is seen beside a row or a column whose scores exploded.

    Args:
        scores: (..., rows, columns), without missing values.

    Returns:
        (...,)
    """
    scores = np.asarray(scores, float)
    sizes = np.abs(scores)
    smallest = sizes.max(axis=-1).argmin(axis=-1)[..., None, None]
    row = np.take_along_axis(scores, smallest, axis=-2)
    larger = np.maximum(sizes, np.abs(row))
    column = larger.argmin(axis=-1)[..., None]
    differences = scores - row
    changes = differences - np.take_along_axis(differences, column, axis=-1)
    same: NDArray[np.bool_] = (np.abs(changes) <= ROUNDING * larger).all(axis=(-2, -1))
    return same


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
