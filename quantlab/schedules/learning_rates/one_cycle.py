"""OneCycle: a learning rate that rises to its highest value, and then falls to almost 0."""

import math
from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_count, require_number
from quantlab.schedules.base import Schedule, set_nonnegative

_SHAPES = ("cosine", "linear")


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From ``start * value`` up to `value`, and down to ``end * value``, in steps.

    With T steps in `epochs`, the peak is at step rise T - 1, which need not be a whole number, and
    the lowest value at step T - 1; it stays afterwards. Both parts are half a period of a cosine,
    or straight lines. This is torch's `OneCycleLR` with ``div_factor = 1 / start`` and
    ``final_div_factor = start / end``, without its cycle of the momentum. Source: L. N. Smith and
    N. Topin, "Super-Convergence" (arXiv 1708.07120).
    """

    value: float
    """The highest value, >= 0."""
    epochs: int
    """Number of epochs of the cycle, >= 1."""
    rise: float = 0.3
    """Share of the steps in which the value rises, from 0 to 1. If it has at most one step, the
    value falls from the beginning."""
    start: float = 0.04
    """Factor of `value` at step 0, from 0 to 1."""
    end: float = 4e-6
    """Factor of `value` from the last step on, from 0 to 1."""
    shape: str = "cosine"
    """``"cosine"`` or ``"linear"``."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        require_count(self, "epochs", 1)
        for field in ("rise", "start", "end"):
            object.__setattr__(self, field, float(require_number(self, field, most=1.0)))
        if self.shape not in _SHAPES:
            raise ConfigurationError(
                f"OneCycle.shape = {brief(self.shape)}: must be one of {', '.join(_SHAPES)}"
            )

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of a step."""
        last = self.epochs * steps_per_epoch - 1
        peak = self._peak(steps_per_epoch)
        if step >= last:
            return self.value * (self.end if last > peak else 1.0)
        if step <= peak and peak > 0:
            return self.value * self._between(self.start, 1.0, step / peak)
        return self.value * self._between(1.0, self.end, (step - peak) / (last - peak))

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, from closed sums of both parts."""
        last = self.epochs * steps_per_epoch - 1
        peak = self._peak(steps_per_epoch)
        turn = min(math.floor(peak) + 1, last) if peak > 0 else 0
        total = 0.0
        if (rising := min(step, turn)) > 0:
            total += self._sum(self.start, 1.0, 0.0, peak, rising)
        if (falling := min(step, last) - turn) > 0:
            total += self._sum(1.0, self.end, turn - peak, last - peak, falling)
        after = max(step - last, 0) * (self.end if last > peak else 1.0)
        return self.value * (total + after)

    def _peak(self, steps_per_epoch: int) -> float:
        """Return the step of the highest value, which need not be a whole number."""
        return max(self.rise * self.epochs * steps_per_epoch - 1, 0.0)

    def _between(self, first: float, second: float, share: float) -> float:
        if self.shape == "linear":
            return first + (second - first) * share
        return second + (first - second) * (1 + math.cos(math.pi * share)) / 2

    def _sum(self, first: float, second: float, begin: float, length: float, count: int) -> float:
        """Return the sum of `_between` at the shares (begin + k) / length for k < count."""
        if self.shape == "linear":
            shares = (count * begin + count * (count - 1) / 2) / length
            return first * count + (second - first) * shares
        half = math.pi / (2 * length)
        middle = math.pi * (begin + (count - 1) / 2) / length
        cosines = math.sin(count * half) * math.cos(middle) / math.sin(half)
        return second * count + (first - second) * (count + cosines) / 2
