"""Numbers as text: accuracies in percent, rho0, and p values."""

import math


def points(fraction: float, *, sign: bool = False) -> str:
    """A fraction in percent or points, empty if it is missing."""
    if math.isnan(fraction):
        return ""
    return f"{100 * fraction:+.2f}" if sign else f"{100 * fraction:.2f}"


def rho0_label(value: float) -> str:
    """``5e-3``, as the papers print it; ``0.12``, ``2`` where that is as short."""
    if math.isnan(value):
        return ""
    if value == 0 or 0.1 <= value < 1000:
        return f"{value:g}"
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def p_value(value: float) -> str:
    """Three digits, or that it is smaller."""
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
