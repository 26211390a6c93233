"""PowerDecay: a step size that decays with a power of the step."""

import math
from dataclasses import dataclass

from quantlab.plain_values import require_number
from quantlab.schedules.base import Schedule, set_nonnegative

_DIRECT = 16
"""Number of terms of a sum that are added one by one, before Euler-Maclaurin's formula is used."""
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
"""Bernoulli numbers B_2j divided by (2j)!, for j = 1, ..., 5."""


@dataclass(frozen=True)
class PowerDecay(Schedule):
    """The value at step t is ``value (t + 1)**-exponent``.

    Source: ProxConnect paper, A.3.1, whose step sizes are eta_0 t**-p with t counted from 1.
    """

    value: float
    """The value at step 0, >= 0."""
    exponent: float
    """Exponent p, > 0 and at most 1, so that the sum of the step sizes has no limit."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        exponent = require_number(self, "exponent", most=1, exclusive=True)
        object.__setattr__(self, "exponent", float(exponent))

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value, which depends on the step only."""
        return float(self.value * (step + 1) ** -self.exponent)

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, by Euler-Maclaurin's formula."""
        power = self.exponent
        direct = math.fsum(k**-power for k in range(1, min(step, _DIRECT) + 1))
        if step <= _DIRECT:
            return self.value * direct
        low, high = _DIRECT, step
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
        return self.value * math.fsum(terms)
