"""Polynomial: a value that falls to another one along a power of the time that is left."""

from dataclasses import dataclass

from quantlab.plain_values import require_count, require_number
from quantlab.schedules.base import Schedule, set_nonnegative
from quantlab.schedules.learning_rates.power_sums import sum_of_powers


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``end + (value - end) (1 - t / T)**power`` at step t < T, and `end` afterwards.

    T is the number of steps in `epochs`. With power 1, the decay is linear; with ``end=0``, it is
    torch's `PolynomialLR`.
    """

    value: float
    """The value at step 0, >= 0."""
    epochs: int
    """Number of epochs until the value is `end`, >= 1. As a learning rate, it must not be less than
    the recipe's epochs over both stages, if `end` is 0."""
    power: float = 1.0
    """The power, > 0 and <= 10."""
    end: float = 0.0
    """The value after these epochs, >= 0. It may be greater than `value`."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        require_count(self, "epochs", 1)
        power = require_number(self, "power", most=10.0, exclusive=True)
        object.__setattr__(self, "power", float(power))
        set_nonnegative(self, "end")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of a step."""
        steps = self.epochs * steps_per_epoch
        left = max(steps - step, 0) / steps
        return float(self.end + (self.value - self.end) * left**self.power)

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, from a sum of powers."""
        steps = self.epochs * steps_per_epoch
        powers = sum_of_powers(max(steps - step, 0), steps, -self.power)
        return float(self.end * step + (self.value - self.end) * (powers / steps**self.power))
