"""A vertical axis that is stretched where the best methods are, so that small differences show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

_SHARE = 0.6
"""Share of the height that the stretched part has."""
_LEAST_STRETCH = 3.0
"""A scale that would be stretched by less stays linear."""
_BEYOND = 0.04
"""Room above the highest and below the lowest value, as a share of the height."""


@dataclass(frozen=True)
class StretchedScale:
    """A scale that is linear on both sides of a bend, and steeper on the better side."""

    bend: float
    """Value at which the slope changes."""
    stretch: float
    """How many times as much height a unit has on the better side of the bend."""
    better_is_up: bool
    low: float
    """Lowest value that is drawn."""
    high: float
    """Highest value that is drawn."""

    def forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights of values; 0 at the bend, and with slope 1 on the worse side."""
        return self._scaled(np.asarray(values, float) - self.bend, self.stretch)

    def backward(self, heights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at heights: the inverse of `forward`."""
        return self._scaled(np.asarray(heights, float), 1 / self.stretch) + self.bend

    def _scaled(self, distances: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
        is_better = (distances > 0) == self.better_is_up
        return np.where(is_better, factor * distances, distances)

    def apply(self, axes: Axes) -> None:
        """Give an axes, and those that share its vertical axis, this scale with ticks."""
        axes.set_yscale("function", functions=(self.forward, self.backward))
        ends = self.forward(np.array([self.low, self.high]))
        room = _BEYOND * (ends[1] - ends[0])
        axes.set_ylim(*self.backward(ends + np.array([-room, room])))
        ticks = [
            *MaxNLocator(5).tick_values(self.bend, self.high),
            *MaxNLocator(3).tick_values(self.low, self.bend),
        ]
        axes.yaxis.set_major_locator(FixedLocator(self._apart(ticks)))
        axes.yaxis.set_minor_locator(NullLocator())

    def _apart(self, ticks: Sequence[float]) -> list[float]:
        """The ticks within the limits, without those whose labels would touch the bend's."""
        ends = self.forward(np.array([self.low, self.high]))
        least = 0.1 * (ends[1] - ends[0])
        kept = [self.bend]
        for tick in ticks:
            places = self.forward(np.array([tick, *kept]))
            if self.low <= tick <= self.high and abs(places[1:] - places[0]).min() >= least:
                kept.append(tick)
        return kept


def stretched_scale(
    panels: Sequence[NDArray[np.float64]], close: float, *, better_is_up: bool
) -> StretchedScale | None:
    """A scale for some panels that share their vertical axis; None if a linear one is as good.

    The stretched part has the values that are close to the best of their panel, in every panel.

    Args:
        panels: the values of each panel.
        close: distance from the best value of a panel up to which a value is close.
        better_is_up: whether higher values are better.
    """
    panels = [values for values in panels if len(values)]
    if not panels or not close > 0:
        return None
    sign = 1.0 if better_is_up else -1.0
    worst_best = min(float((sign * values).max()) for values in panels)
    step = 10.0 ** math.floor(math.log10(close))
    step *= max(factor for factor in (1, 2, 5) if factor * step <= close)
    bend = sign * math.floor((worst_best - close) / step) * step
    everything = np.concatenate(panels)
    low, high = float(everything.min()), float(everything.max())
    better, worse = (high - bend, bend - low) if better_is_up else (bend - low, high - bend)
    if better <= 0 or worse <= 0:
        return None
    stretch = _SHARE / (1 - _SHARE) * worse / better
    several = any((sign * (values - bend) > 0).sum() > 1 for values in panels)
    if stretch < _LEAST_STRETCH or not several:
        return None
    return StretchedScale(bend, stretch, better_is_up, low, high)
