"""Constant: the same value at every step."""

from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import finite_number
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


def set_schedule(
    owner: object, field: str, allowed: str = "a number >= 0 or a schedule, such as Linear(0.01)"
) -> None:
    """Check that a field is a schedule or a number >= 0, and store a number as `Constant`.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass.
        field: name of the field.
        allowed: what the field must be, for the message.

    Raises:
        ConfigurationError: if it is neither.
    """
    value = getattr(owner, field)
    schedule = constant_or(value)
    if schedule is None:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be {allowed}"
        )
    object.__setattr__(owner, field, schedule)


def constant_or(value: object) -> Schedule | None:
    """Return a schedule itself, a number >= 0 as `Constant`, and None for any other value."""
    if isinstance(value, Schedule):
        return value
    number = finite_number(value)
    return Constant(number) if number is not None and number >= 0 else None
