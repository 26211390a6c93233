"""Schedule, the base class of all schedules, and the check of their values.

Steps are counted from 0. The value at step t is used when the gradient of step t is computed. The
weights after the last of T steps are mapped with the sharpness and the pull of step T, which a
schedule of them must therefore have, too: with B steps per epoch, the first step of epoch T / B.
Schedules are pure functions, so they have no state to checkpoint.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief, described
from quantlab.plain_values import plain, require_number


def value_at(schedule: "Schedule", step: int, steps_per_epoch: int, field: str) -> float:
    """Return the value of a schedule as a float, whatever type of number the schedule returns.

    Args:
        schedule: any schedule, also a user's.
        step: see `Schedule.at`.
        steps_per_epoch: see `Schedule.at`.
        field: name of the schedule in the message, such as ``"quantization.sharpness"``.

    Raises:
        ConfigurationError: if the schedule raises an error, or if its value is not a finite
            number >= 0.
    """
    try:
        given: object = schedule.at(step, steps_per_epoch)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field} at step {step}: {error}") from error
    except Exception as error:  # the user's code may raise anything
        raise ConfigurationError(
            f"{field} = {brief(schedule)}: raised {described(error)} at step {step}"
        ) from error
    value = given if isinstance(given, float) else plain(given)
    if isinstance(value, int | float) and 0 <= value < math.inf:
        return float(value)
    raise ConfigurationError(
        f"{field} = {brief(schedule)}: returned {brief(given)} at step {step}; must return a "
        "finite number >= 0"
    )


def set_nonnegative(owner: object, field: str) -> None:
    """Check that a field of a schedule is a finite number >= 0, and store it as a float.

    It is called from ``__post_init__``.

    Raises:
        ConfigurationError: if it is not.
    """
    object.__setattr__(owner, field, float(require_number(owner, field)))


@dataclass(frozen=True)
class Schedule(ABC):
    """A number for every gradient step."""

    @abstractmethod
    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value at a gradient step.

        Args:
            step: gradient step t, counted from 0.
            steps_per_epoch: number B of gradient steps per epoch.

        Returns:
            A finite number >= 0.
        """

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values at all steps before `step`."""
        return math.fsum(self.at(t, steps_per_epoch) for t in range(step))
