"""Places and distances of the values of a knob on its scale."""

import numpy as np
from numpy.typing import NDArray

from analysis.knobs.knob import Scale

Floats = NDArray[np.float64]


def places_on(values: Floats, scale: Scale) -> Floats:
    """The place of each value: its logarithm to base 10, or the value itself.

    Args:
        values: any shape.
        scale: of the knob.

    Returns:
        Same shape; NaN on a nominal scale, and for values <= 0 on a logarithmic one.
    """
    if scale == "nominal":
        return np.full_like(values, np.nan)
    if scale == "linear":
        return values
    return np.log10(values, out=np.full_like(values, np.nan), where=values > 0)


def span_of(values: Floats, scale: Scale) -> Floats:
    """The distance of the lowest from the highest value, such as a number of decades.

    Args:
        values: (..., n), at least one.
        scale: of the knob.

    Returns:
        (...); NaN if one of the two has no place on the scale.
    """
    low, high = values.min(axis=-1), values.max(axis=-1)
    if scale == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(low > 0, np.log10(high / low), np.nan)
    return high - low if scale == "linear" else np.full_like(low, np.nan)
