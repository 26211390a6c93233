"""Test accuracy, or another metric, against rho0."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.figures.emphasis import Emphasis, draw_others, emphasis_of
from analysis.figures.style import (
    DASHES,
    SOFT,
    Styles,
    draw_bands,
    label_of,
    labels_that_fit,
    method_styles,
    panels,
    places_of_variants,
    row_label,
    sets_of,
    settings_of,
    shared_legend,
)
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric
from analysis.rounding import rho0_label
from analysis.statistics.verdicts import MARGIN

_CLOSE = 2.0
"""Margins from the best of a panel up to which differences are to be seen."""
_TALLER = 0.6
"""Inches by which a row of panels with a stretched scale is taller."""
_MOST_APART = 1e-12
"""Smallest rho0 that is not drawn as zero, as a fraction of the largest."""
_LEAST = 1e-300
"""Smaller numbers are subnormal and have lost digits; they are drawn as zero."""
_FEW = 30.0
"""If the largest rho0 is at most this factor times the smallest, each rho0 has a labelled tick;
powers of ten would be too few."""
_MOST_TICKS = 20
"""Up to this number of rho0, each has a tick. More are as close as the points, and drawing them
takes most of the time of a figure."""
_SHARE = 0.6
"""Share of the height that the stretched part has."""
_LEAST_STRETCH = 3.0
"""A scale that would be stretched by less stays linear."""
_BEYOND = 0.04
"""Room above the highest and below the lowest value, as a share of the height."""


def sensitivity_figure(
    table: pd.DataFrame,
    methods: Iterable[str] = (),
    metric: Metric = ACCURACY,
    *,
    margin: float = MARGIN,
) -> Figure:
    """Plot the mean test value against rho0, with a band of one standard deviation over seeds.

    There is a panel for each set, and a row for each dataset, model and regime. The axis of rho0 is
    logarithmic. A method without rho0 is a horizontal line. Of more variants than `emphasis.MOST`,
    the best are in colour and the others are grey. Where good methods differ by much less
    than all methods do, the part of the vertical axis that has the good ones is stretched; a dotted
    line marks its end.

    Args:
        table: result of `aggregate.configurations`, with values.
        methods: all methods of the sweep, which determine the colours.
        metric: what the trials are compared by.
        margin: see `metric.Metric.margin`; twice as much is the distance from the best up to which
            a value is good.
    """
    finished = table[table["n"] > 0]
    settings, sets = settings_of(finished), sets_of(finished)
    figure, grid = panels(len(settings), len(sets), sharey="row")
    styles = method_styles([*methods, *table["method"].unique()])
    emphasis = emphasis_of(finished, metric)
    places = places_of_variants(emphasis.split(finished)[0], styles)
    for row, (key, part) in zip(grid, settings, strict=True):
        for axes, name in zip(row, sets, strict=True):
            of_set = part[part["set"].isin((name, ""))]
            _panel(axes, of_set, styles, places, metric, emphasis)
            axes.set_title(name)
        label = label_of("test", metric)
        if scale := _stretched(part, sets, metric, margin):
            scale.apply(row[0])
            figure.set_figheight(figure.get_figheight() + _TALLER)
            for axes in row:
                axes.axhline(scale.bend, color=SOFT, linestyle=":", linewidth=0.8, label="_bend")
            side = "above" if scale.better_is_up else "below"
            label += f"\n{scale.stretch:.0f} x stretched {side} {scale.bend:g}"
        row[0].set_ylabel(row_label(key, label))
    for axes in grid[-1]:
        axes.set_xlabel("ρ0")
    shared_legend(figure, grid.flat)
    return figure


def _stretched(
    part: pd.DataFrame, sets: Sequence[str], metric: Metric, margin: float
) -> "StretchedScale | None":
    """The scale of a row of panels, if good methods differ by much less than all methods do."""
    of_sets = [part[part["set"].isin((name, ""))]["test_mean"].to_numpy(float) for name in sets]
    best = part["test_mean"].max() if metric.higher_is_better else part["test_mean"].min()
    close = _CLOSE * metric.margin(margin, best)
    return stretched_scale(
        [metric.factor * values for values in of_sets],
        metric.factor * close,
        better_is_up=metric.higher_is_better,
    )


def _panel(
    axes: Axes,
    part: pd.DataFrame,
    styles: Styles,
    places: Mapping[str, int],
    metric: Metric,
    emphasis: Emphasis,
) -> None:
    least, most = (
        None if end is None else metric.factor * end for end in (metric.least, metric.most)
    )
    further = axis_columns(part)
    shown, others = emphasis.split(part)
    bands = []
    for _, rows in shown.groupby(["method", *further], sort=False):
        method, label = rows["method"].iloc[0], variant(rows.iloc[0], further)
        colour, marker = styles[method]
        dash = DASHES[places[label] % len(DASHES)]
        if rows["rho0"].isna().all():
            height = metric.factor * rows["test_mean"].iloc[0]
            axes.axhline(height, color=colour, linestyle=(0, (4, 2, *dash)), label=label)
            continue
        rows = rows.sort_values("rho0")
        mean = metric.factor * rows["test_mean"]
        std = metric.factor * rows["test_std"].fillna(0)
        axes.plot(rows["rho0"], mean, color=colour, marker=marker, label=label, linestyle=(0, dash))
        low, high = (mean - std).clip(lower=least), (mean + std).clip(upper=most)
        bands.append((rows["rho0"], low, high, colour))
    draw_bands(axes, bands)
    ends = (part["rho0"].min(), part["rho0"].max()) if part["rho0"].notna().any() else (0.0, 1.0)
    draw_others(axes, others, emphasis, ("rho0", "test_mean"), ends, metric.factor)
    positive = part.loc[part["rho0"] >= _LEAST, "rho0"]
    first = max(positive.min(), _MOST_APART * positive.max()) if len(positive) else 1.0
    if (part["rho0"] < first).any():  # a logarithmic axis cannot show zero
        axes.set_xscale("symlog", linthresh=first)
    elif len(positive):
        axes.set_xscale("log")
        tried = sorted(set(positive))
        if tried[-1] / tried[0] <= _FEW:
            labels = [rho0_label(value, 3) for value in tried]
            axes.set_xticks(tried, labels_that_fit(tried, labels))
            axes.minorticks_off()
        elif len(tried) > _MOST_TICKS:
            axes.minorticks_off()
        else:
            axes.set_xticks(tried, minor=True)
            axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid()


@dataclass(frozen=True)
class StretchedScale:
    """A vertical scale that is linear on both sides of a bend, and steeper on the better side."""

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
) -> "StretchedScale | None":
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
