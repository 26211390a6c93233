"""Ramps: 0 at first, then growth to a value, which stays: linear, or along a sigmoid."""

import math
from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count, require_number
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Ramp(Schedule):
    """0 until the first step of epoch `start`, then linear growth to `value` at epoch `end`.

    With a learning rate in a `Product`, it is the pull of CAGE (arXiv 2510.18784), whose public
    scripts leave the weights alone for the first 80 % of the training. ``Ramp(1, start=0, end=5)``
    in a `Product` is a linear warm-up of another learning rate in 5 epochs, which is 0 at step 0.
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
        _require_order(self)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of a step."""
        return self.value * _share(self, step, steps_per_epoch)


@dataclass(frozen=True)
class SigmoidRamp(Schedule):
    """0 until the first step of epoch `start`, then growth along a sigmoid to `value` at `end`.

    With f for the share of the time between both, a for `steepness` and the logistic function S,
    the value is::

        value (S(a (f - center)) - S(-a center)) / (S(a (1 - center)) - S(-a center))

    With ``value=1`` and the middle as its center, it is 1 minus the inverse slope of PARQ (arXiv
    2503.15748), whose map is ``PiecewiseLinear(relative=True, varrho_scale=0)`` at this sharpness.
    """

    value: float
    """The value from epoch `end` on, >= 0."""
    start: int
    """Epoch, counted from 0, at whose first step the growth begins."""
    end: int
    """Epoch at whose first step `value` is reached; greater than `start`."""
    steepness: float = 10.0
    """Steepness a of the sigmoid, > 0 and <= 500. Close to 0, the growth is linear."""
    center: float = 0.5
    """Share of the time at which the growth is fastest, from 0 to 1."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        require_count(self, "start", 0)
        require_count(self, "end", 1)
        _require_order(self)
        steepness = float(require_number(self, "steepness", most=500.0, exclusive=True))
        object.__setattr__(self, "steepness", steepness)
        object.__setattr__(self, "center", float(require_number(self, "center", most=1.0)))

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of a step."""
        share = _share(self, step, steps_per_epoch)
        if share in (0.0, 1.0):
            return self.value * share
        low, now, high = (
            math.tanh(self.steepness * (where - self.center) / 2) for where in (0.0, share, 1.0)
        )
        return self.value * ((now - low) / (high - low))


def _require_order(ramp: Ramp | SigmoidRamp) -> None:
    if ramp.end <= ramp.start:
        name = type(ramp).__name__
        raise ConfigurationError(
            f"{name}.end = {ramp.end}: must be greater than {name}.start = {ramp.start}"
        )


def _share(ramp: Ramp | SigmoidRamp, step: int, steps_per_epoch: int) -> float:
    """Return the share of the time of growth that has passed."""
    risen = step - ramp.start * steps_per_epoch
    share = risen / ((ramp.end - ramp.start) * steps_per_epoch)
    return min(max(share, 0.0), 1.0)
