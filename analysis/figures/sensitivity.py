"""Test accuracy, or another metric, against rho0."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from analysis.columns import axis_columns
from analysis.figures.stretched_scale import StretchedScale, stretched_scale
from analysis.figures.style import (
    DASHES,
    SOFT,
    Styles,
    label_of,
    labels_that_fit,
    method_styles,
    panels,
    places_of_variants,
    row_label,
    sets_of,
    settings_of,
    shared_legend,
    variant,
)
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


def sensitivity_figure(
    table: pd.DataFrame,
    methods: Iterable[str] = (),
    metric: Metric = ACCURACY,
    *,
    margin: float = MARGIN,
) -> Figure:
    """Plot the mean test value against rho0, with a band of one standard deviation over seeds.

    There is a panel for each set, and a row for each dataset, model and regime. The axis of rho0 is
    logarithmic. A method without rho0 is a horizontal line. Where good methods differ by much less
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
    styles = method_styles([*methods, *table["method"]])
    places = places_of_variants(finished, styles)
    for row, (key, part) in zip(grid, settings, strict=True):
        for axes, name in zip(row, sets, strict=True):
            _panel(axes, part[part["set"].isin((name, ""))], styles, places, metric)
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
) -> StretchedScale | None:
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
    axes: Axes, part: pd.DataFrame, styles: Styles, places: Mapping[str, int], metric: Metric
) -> None:
    least, most = (
        None if end is None else metric.factor * end for end in (metric.least, metric.most)
    )
    further = axis_columns(part)
    for _, rows in part.groupby(["method", *further], sort=False):
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
        axes.fill_between(
            rows["rho0"],
            (mean - std).clip(lower=least),
            (mean + std).clip(upper=most),
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
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
        else:
            axes.set_xticks(tried, minor=True)
            axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid()
