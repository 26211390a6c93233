"""Ramp: 0 at first, then linear growth to a value, which stays."""

from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Ramp(Schedule):
    """0 until the first step of epoch `start`, then linear growth to `value` at epoch `end`.

    With a learning rate in a `Product`, it is the pull of CAGE (arXiv 2510.18784), whose public
    scripts leave the weights alone for the first 80 % of the training.
    """

    value: float
    """The value from epoch `end` on, >= 0."""
    start: int
    """Epoch, counted from 0, at whose first step the growth begins."""
    end: int
    """Epoch at whose first step `value` is reached; greater than `start`."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        require_count(self, "start", 0)
        require_count(self, "end", 1)
        if self.end <= self.start:
            raise ConfigurationError(
                f"Ramp.end = {self.end}: must be greater than Ramp.start = {self.start}"
            )

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of a step."""
        risen = step - self.start * steps_per_epoch
        share = risen / ((self.end - self.start) * steps_per_epoch)
        return self.value * min(max(share, 0.0), 1.0)
