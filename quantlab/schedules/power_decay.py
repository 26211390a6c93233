"""PowerDecay: a step size that decays with a power of the step."""

from dataclasses import dataclass

from quantlab.plain_values import require_number
from quantlab.schedules.base import Schedule, set_nonnegative
from quantlab.schedules.learning_rates.power_sums import sum_of_powers


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
        return self.value * sum_of_powers(0, step, self.exponent)
