"""Staircase: a value that is multiplied by a factor every so many gradient steps."""

import math
from bisect import bisect_left
from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_bool, require_count, require_number
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Staircase(Schedule):
    """The value at step t is ``value * factor**k`` with k = floor(t / interval), at most `cap`.

    With a factor less than 1, it is a learning rate that drops every `interval` steps: the authors
    of "Mirror Descent View for Neural Network Quantization" multiply theirs by `lr_scale` every
    30,000 steps (Table 8). With a factor greater than 1, it is their annealing parameter beta
    (section 3.1, Tables 7-11), which starts at 1.

    The power is computed at once and not by repeated products, so that the last digits may differ
    from those of a program that multiplies. If there is no cap and the value exceeds the range of
    floats, `at` raises an error. `quantlab` evaluates the sharpness of the last step before it
    trains, so that the error comes early.
    """

    value: float
    """The value at step 0, >= 0 (before `cap`)."""
    factor: float
    """Factor > 0 by which the value is multiplied."""
    interval: int
    """Number of gradient steps between two products, >= 1."""
    cap: float | None = None
    """Upper limit of the value, >= 0; None for no limit."""
    after_first: bool = False
    """Whether k = ceil(t / interval): the value is multiplied right after step 0, and then after
    every `interval` steps. This is beta in the code of the mirror-descent paper, which multiplies
    at the end of an iteration whose number, counted from 0, is divisible by the interval."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        factor = require_number(self, "factor", exclusive=True)
        object.__setattr__(self, "factor", float(factor))
        require_count(self, "interval", 1)
        if self.cap is not None:
            set_nonnegative(self, "cap")
        require_bool(self, "after_first")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value, which depends on the step only.

        Raises:
            ConfigurationError: if it exceeds the range of floats and there is no cap.
        """
        products = -(-step // self.interval) if self.after_first else step // self.interval
        return self._finite(self._capped(products))

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, computed from geometric series."""
        if not self.after_first:
            return self._finite(self._sum(step, first=0))
        beginning = self._capped(0) if step else 0.0
        return self._finite(beginning + self._sum(max(step - 1, 0), first=1))

    def _capped(self, products: int) -> float:
        """Return the value after a number of products; infinite beyond the range of floats."""
        return min(self._power(products), math.inf if self.cap is None else self.cap)

    def _power(self, products: int) -> float:
        if self.value == 0:
            return 0.0
        try:
            return self.value * self.factor**products
        except OverflowError:
            return math.inf

    def _sum(self, steps: int, *, first: int) -> float:
        """Return the sum over steps of which the first `interval` have `first` products."""
        whole, rest = divmod(steps, self.interval)
        last = first + whole
        below, above = self._stairs(first, last)
        limit = 0.0 if self.cap is None or not len(above) else self.cap * len(above)
        remaining = rest * self._capped(last) if rest else 0.0
        return math.fsum((self.interval * (self._series(below) + limit), remaining))

    def _stairs(self, first: int, last: int) -> tuple[range, range]:
        """Return the numbers of products below the cap, and those at it."""
        stairs = range(first, last)
        if self.cap is None:
            return stairs, range(0)
        cap = self.cap
        if self.factor >= 1:
            edge = bisect_left(stairs, True, key=lambda products: self._power(products) >= cap)
            return stairs[:edge], stairs[edge:]
        edge = bisect_left(stairs, True, key=lambda products: self._power(products) < cap)
        return stairs[edge:], stairs[:edge]

    def _series(self, stairs: range) -> float:
        """Return the sum of ``value * factor**k`` over the numbers of products k."""
        if not len(stairs) or self.value == 0:
            return 0.0
        first = self._power(stairs[0])
        if self.factor == 1:
            return first * len(stairs)
        try:  # expm1 does not cancel if the factor is close to 1
            grown = math.expm1(len(stairs) * math.log(self.factor))
        except OverflowError:
            return math.inf
        return first * (grown / (self.factor - 1))

    def _finite(self, value: float) -> float:
        if value < math.inf:
            return value
        raise ConfigurationError(
            f"Staircase.cap = None: the value exceeds the range of floats, because {self.value:g} "
            f"is multiplied by {self.factor:g} every {self.interval} steps; set a cap, such as "
            "1e35, or a smaller factor"
        )
