"""Ties: scores that are equal but for the rounding of floating-point numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DIGITS = 9
"""Digits after the first one. Means of the same values in another order agree in more."""


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
