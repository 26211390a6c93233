"""Constant: the same value at every step."""

from dataclasses import dataclass

from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step."""

    value: float

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return `value`."""
        return self.value

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return `value` times `step`."""
        return self.value * step
