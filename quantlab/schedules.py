"""Schedules: pure functions of the gradient step, for the sharpness and for the learning rate.

Steps are counted from 0; the value at step t is in force while step t's gradient is taken. Being
pure, schedules have no state to checkpoint.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from quantlab.errors import ConfigurationError, brief, described
from quantlab.plain_values import plain, require_count

StepFunction: TypeAlias = Callable[[int], float]
"""A schedule of which the steps of an epoch are settled: a number for every gradient step."""


def value_at(schedule: "Schedule", step: int, steps_per_epoch: int, field: str) -> float:
    """A schedule's value as a float, whatever kind of number it gives.

    Args:
        schedule: any, a user's too.
        step: see `Schedule.at`.
        steps_per_epoch: see `Schedule.at`.
        field: how the message calls the schedule, such as ``"quantization.sharpness"``.

    Raises:
        ConfigurationError: it gives none, or one that is negative or not finite.
    """
    try:
        given: object = schedule.at(step, steps_per_epoch)
    except Exception as error:  # whatever the user's code does
        raise ConfigurationError(
            f"{field} = {brief(schedule)}: raises {described(error)} at step {step}"
        ) from error
    value = given if isinstance(given, float) else plain(given)
    if isinstance(value, int | float) and 0 <= value < math.inf:
        return float(value)
    raise ConfigurationError(
        f"{field} = {brief(schedule)}: gives {brief(given)} at step {step}; must be a number that "
        "is finite and >= 0"
    )


def _set_nonnegative(owner: object, field: str) -> None:
    value = plain(getattr(owner, field))
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be a number"
        )
    if not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {value}: must be finite and >= 0"
        )
    object.__setattr__(owner, field, float(value))


def _check_eta(owner: "ProxQuantEpochs | InversePi") -> None:
    if not isinstance(owner.eta, Schedule):
        raise ConfigurationError(
            f"{type(owner).__name__}.eta = {brief(owner.eta)}: must be a Schedule"
        )


@dataclass(frozen=True)
class Schedule(ABC):
    """A number for every gradient step."""

    @abstractmethod
    def at(self, step: int, steps_per_epoch: int) -> float:
        """The value at gradient step `step` (from 0), B = `steps_per_epoch` steps an epoch."""

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """The sum of the values at the steps before `step`."""
        return math.fsum(self.at(t, steps_per_epoch) for t in range(step))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step."""

    value: float

    def __post_init__(self) -> None:
        _set_nonnegative(self, "value")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """The value."""
        return self.value

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """`value` times `step`."""
        return self.value * step


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A value that is multiplied by `factor` at each of the milestones.

    The learning-rate schedules of the ProxConnect paper: B.1.3 (milestones 100, 150), B.1.4
    (81, 122), B.6 (15, 30), B.7 (30, 60), all with factor 0.1.
    """

    value: float
    milestones: tuple[int, ...]
    """Epochs, counted from 0, from whose first step on one more factor applies."""
    factor: float = 0.1

    def __post_init__(self) -> None:
        _set_nonnegative(self, "value")
        _set_nonnegative(self, "factor")
        object.__setattr__(self, "milestones", _milestones(self.milestones))

    def at(self, step: int, steps_per_epoch: int) -> float:
        """The decayed value; constant within an epoch."""
        passed = bisect_right(self.milestones, step // steps_per_epoch)
        return self.value * self.factor**passed

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """The sum over the constant pieces."""
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
            f"StepDecay.milestones = {brief(milestones)}: must be increasing whole epochs >= 0"
        )
    return milestones


@dataclass(frozen=True)
class Linear(Schedule):
    """rho_t = (1 + t / B) rho0, the schedule of the ProxConnect paper's experiments (6.1).

    B is by default the number of steps in an epoch, so that rho grows by rho0 each epoch, a little
    at every gradient step.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    period: int | None = None
    """B, the steps in which rho grows by rho0; None for those of an epoch. A run of few epochs
    goes through the rho of a long one with a smaller B."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rho0")
        if self.period is not None:
            require_count(self, "period", 1)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """(1 + step / B) rho0."""
        return (1 + step / (self.period or steps_per_epoch)) * self.rho0

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """The arithmetic series."""
        return self.rho0 * (step + step * (step - 1) / (2 * (self.period or steps_per_epoch)))


@dataclass(frozen=True)
class ProxQuantEpochs(Schedule):
    """rho = eta_t rate e in epoch e = 0, 1, ...: the schedule of ProxQuant's public code.

    Constant within an epoch but for the learning rate, and 0 in the first one: nothing is drawn
    to the quantization set there. With Adam at 0.01 and rate 1e-4 it grows by 1e-6 an epoch, the
    middle of the ProxConnect paper's grid for ProxQuant.
    """

    rate: float
    """Strength for each unit of learning rate and epoch, >= 0 (their `reg_rate`)."""
    eta: Schedule
    """The learning rate, usually the recipe's."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rate")
        _check_eta(self)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate times the rate times the epoch, counted from 0."""
        epoch = step // steps_per_epoch
        return self.eta.at(step, steps_per_epoch) * self.rate * epoch


@dataclass(frozen=True)
class InversePi(Schedule):
    """rho_t = rho0 (1 + eta_0 + ... + eta_{t-1}), the theory's 1/pi_t growth.

    Source: ProxConnect paper, equations (28)-(29). It starts at rho0 and, for eta = 1 / B, is
    `Linear`; the paper's 1 / pi_{t-1} is the same sum less the constant eta_0.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    eta: Schedule
    """The step sizes, usually the recipe's learning rate."""

    def __post_init__(self) -> None:
        _set_nonnegative(self, "rho0")
        _check_eta(self)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """rho0 times one plus the cumulative step size."""
        return self.rho0 * (1 + self.eta.cumulative(step, steps_per_epoch))
