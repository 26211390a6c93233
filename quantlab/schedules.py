"""Schedules: pure functions of the gradient step, for the sharpness and for the learning rate.

Steps are counted from 0. The value at step t is used when the gradient of step t is computed.
Schedules are pure functions, so they have no state to checkpoint.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from quantlab.errors import ConfigurationError, brief, described
from quantlab.plain_values import plain, require_count, require_instance, require_number

StepFunction: TypeAlias = Callable[[int], float]
"""A schedule with a fixed number of steps per epoch: it maps a gradient step to a number."""


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


def _set_nonnegative(owner: object, field: str) -> None:
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


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step."""

    value: float

    def __post_init__(self) -> None:
        _set_nonnegative(self, "value")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return `value`."""
        return self.value

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return `value` times `step`."""
        return self.value * step


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A value that is multiplied by `factor` at each of the milestones.

    The learning-rate schedules of the ProxConnect paper are of this form: B.1.3 (milestones 100 and
    150), B.1.4 (81 and 122), B.6 (15 and 30) and B.7 (30 and 60), all with factor 0.1.
    """

    value: float
    milestones: tuple[int, ...]
    """Epochs, counted from 0, at whose first step the value is multiplied by `factor`."""
    factor: float = 0.1

    def __post_init__(self) -> None:
        _set_nonnegative(self, "value")
        _set_nonnegative(self, "factor")
        object.__setattr__(self, "milestones", _milestones(self.milestones))

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the decayed value, which is constant within an epoch."""
        passed = bisect_right(self.milestones, step // steps_per_epoch)
        return self.value * self.factor**passed

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, computed from the constant pieces."""
        starts = [0, *(epoch * steps_per_epoch for epoch in self.milestones if epoch > 0)]
        edges = [start for start in starts if start < step] + [step]
        return math.fsum(
            self.at(begin, steps_per_epoch) * (end - begin) for begin, end in pairwise(edges)
        )


def _milestones(values: Iterable[int] | int) -> tuple[int, ...]:
    is_sequence = isinstance(values, Iterable)
    milestones = plain(tuple(values)) if isinstance(values, Iterable) else (values,)
    whole = is_sequence and all(isinstance(epoch, int) and epoch >= 0 for epoch in milestones)
    if not whole or any(low >= high for low, high in pairwise(milestones)):
        raise ConfigurationError(
            f"StepDecay.milestones = {brief(milestones)}: must be whole numbers >= 0 in increasing "
            "order"
        )
    return milestones


@dataclass(frozen=True)
class Linear(Schedule):
    """rho_t = (1 + t / B) rho0, the schedule of the ProxConnect paper's experiments (section 6.1).

    By default, B is the number of gradient steps per epoch. Then rho grows by rho0 in each epoch,
    in equal parts at every gradient step.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    period: int | None = None
    """Number B of gradient steps in which rho grows by rho0; None for the steps of an epoch. With a
    smaller B, a short run covers the same values of rho as a long one."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rho0")
        if self.period is not None:
            require_count(self, "period", 1)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return (1 + step / B) rho0."""
        return (1 + step / (self.period or steps_per_epoch)) * self.rho0

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the arithmetic series."""
        return self.rho0 * (step + step * (step - 1) / (2 * (self.period or steps_per_epoch)))


@dataclass(frozen=True)
class ProxQuantEpochs(Schedule):
    """rho = eta_t rate e in epoch e = 0, 1, ...: the schedule of ProxQuant's public code.

    Apart from the learning rate eta_t, the value is constant within an epoch. It is 0 in the first
    epoch, in which weights are not moved towards the quantization set. With a learning rate of 0.01
    and rate 1e-4, it grows by 1e-6 per epoch, the middle of the ProxConnect paper's grid for
    ProxQuant.
    """

    rate: float
    """Growth per epoch and unit of learning rate, >= 0 (`reg_rate` in ProxQuant's code)."""
    eta: Schedule
    """The learning rate eta_t, usually that of the recipe."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rate")
        require_instance(self, "eta", Schedule)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate times `rate` times the epoch, which is counted from 0."""
        epoch = step // steps_per_epoch
        return self.eta.at(step, steps_per_epoch) * self.rate * epoch


@dataclass(frozen=True)
class InversePi(Schedule):
    """rho_t = rho0 (1 + eta_0 + ... + eta_{t-1}), the theory's 1/pi_t growth.

    Source: ProxConnect paper, equations (28)-(29). The value starts at rho0. For eta = 1 / B the
    schedule equals `Linear`. The paper's 1 / pi_{t-1} is the same sum without the constant eta_0.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    eta: Schedule
    """The step sizes eta_t, usually the learning rate of the recipe."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rho0")
        require_instance(self, "eta", Schedule)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return rho0 times one plus the sum of the step sizes before `step`."""
        return self.rho0 * (1 + self.eta.cumulative(step, steps_per_epoch))
