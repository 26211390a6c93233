"""Numbers as text: accuracies in percent, rho0, probabilities and p values."""

import math
from collections import defaultdict
from collections.abc import Iterable


def points(fraction: float, decimals: int = 2, *, sign: bool = False) -> str:
    """A fraction in percent, or a difference of fractions in percentage points.

    Args:
        fraction: such as an accuracy in [0, 1]; NaN gives an empty text.
        decimals: digits after the decimal point.
        sign: also write a plus sign.
    """
    if math.isnan(fraction):
        return ""
    return f"{100 * fraction:{'+' if sign else ''}.{decimals}f}"


def mean_and_std(mean: float, std: float) -> str:
    """``94.00 (1.41)`` from two fractions: percent, and the standard deviation if there is one."""
    return points(mean) if math.isnan(std) else f"{points(mean)} ({points(std)})"


def rho0_label(value: float, digits: int = 6) -> str:
    """A rho0 as the papers print it: ``5e-3``, but ``0.12`` and ``2`` if that is as short.

    Args:
        value: >= 0; NaN gives an empty text.
        digits: significant digits.
    """
    if math.isnan(value):
        return ""
    if value == 0 or 0.1 <= value < 1000:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def rho0_labels(values: Iterable[float]) -> dict[float, str]:
    """The label of each of several rho0; those that would be the same get the digits that differ.

    So 0.3 and 0.1 * 3 stay apart, which differ in the last of 17 digits.

    Args:
        values: >= 0, with repetitions; missing ones have no label.

    Returns:
        Value -> label, in the order of the values.
    """
    known = dict.fromkeys(float(value) for value in values if not math.isnan(value))
    alike: dict[str, list[float]] = defaultdict(list)
    for value in known:
        alike[rho0_label(value)].append(value)
    labels: dict[float, str] = {}
    for label, own in alike.items():
        several = ([rho0_label(value, digits) for value in own] for digits in range(7, 17))
        apart = next((each for each in several if len(set(each)) == len(own)), list(map(repr, own)))
        labels |= dict(zip(own, apart if len(own) > 1 else [label], strict=True))
    return {value: labels[value] for value in known}


def probability(value: float) -> str:
    """A probability with two decimals; NaN gives an empty text."""
    return "" if math.isnan(value) else f"{value:.2f}"


def p_value(value: float) -> str:
    """A p value with three decimals, or ``< 0.001``; NaN gives an empty text."""
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def decades(value: float) -> str:
    """A number of decades with one decimal; NaN gives an empty text."""
    return "" if math.isnan(value) else f"{value:.1f}"
