"""Sums of powers of whole numbers, in a time that does not depend on their number."""

import math

_DIRECT = 16
"""Number of terms of a sum that are added one by one, before Euler-Maclaurin's formula is used."""
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
"""Bernoulli numbers B_2j divided by (2j)!, for j = 1, ..., 5."""


def sum_of_powers(before: int, last: int, power: float) -> float:
    """Return the sum of ``k**-power`` for k = before + 1, ..., last, by Euler-Maclaurin's formula.

    Args:
        before: number before the first k, >= 0.
        last: the last k; the sum is 0 if it is not greater than `before`.
        power: any number; with a negative one, the terms grow.
    """
    low, high = min(max(before, _DIRECT), last), last
    direct = math.fsum(k**-power for k in range(before + 1, low + 1))
    if high <= low:
        return direct
    logarithm = math.log(high / low)
    rest = 1 - power
    # The integral of x**-power, which is the logarithm for power = 1.
    integral = low**rest * (math.expm1(rest * logarithm) / rest if rest else logarithm)
    terms = [direct, integral, (high**-power - low**-power) / 2]
    derivative = power  # p (p + 1) ... (p + 2j - 2)
    for j, coefficient in enumerate(_BERNOULLI, start=1):
        order = power + 2 * j - 1
        terms.append(coefficient * derivative * (low**-order - high**-order))
        derivative *= order * (order + 1)
    return math.fsum(terms)
