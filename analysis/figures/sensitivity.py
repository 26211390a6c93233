"""Accuracy against rho0."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from analysis.columns import axis_columns
from analysis.figures.style import (
    Styles,
    labels_that_fit,
    method_styles,
    panels,
    sets_of,
    setting_name,
    settings_of,
    shared_legend,
    variant,
)

_MOST_APART = 1e-12
"""Smallest rho0 that is told from zero, as a share of the largest."""
_LEAST = 1e-300
"""Below it, numbers have lost their digits, and are drawn as zero is."""
_FEW = 30.0
"""Up to this factor between them, rho0 that were tried are named one by one: powers of ten are too
few."""
_DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (6, 2, 2, 2))


def sensitivity_figure(table: pd.DataFrame, methods: Iterable[str] = ()) -> Figure:
    """Test accuracy against rho0, a panel for each set, a row for each dataset, model and regime.

    An annealed method is a line over its own rho0 (log axis) with a band of one standard deviation
    over seeds; a method without rho0 is a horizontal line.

    Args:
        table: what `aggregate.configurations` gives.
        methods: all methods of the sweep, for their colours.
    """
    finished = table[table["n"] > 0]
    settings, sets = settings_of(finished), sets_of(finished)
    figure, grid = panels(len(settings), len(sets), sharey="row")
    styles = method_styles([*methods, *table["method"]])
    for row, (key, part) in zip(grid, settings, strict=True):
        for axes, name in zip(row, sets, strict=True):
            _panel(axes, part[part["set"].isin((name, ""))], styles)
            axes.set_title(name)
        row[0].set_ylabel(f"{setting_name(key)}\ntest accuracy (%)")
    for axes in grid[-1]:
        axes.set_xlabel("ρ0")
    shared_legend(figure, grid.flat)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, styles: Styles) -> None:
    further = axis_columns(part)
    dashes: Counter[str] = Counter()
    for _, rows in part.groupby(["method", *further], sort=False):
        method, label = rows["method"].iloc[0], variant(rows.iloc[0], further)
        colour, marker = styles[method]
        # The same method is always of the same colour; its further axes differ in dashes.
        dash = _DASHES[dashes[method] % len(_DASHES)]
        dashes[method] += 1
        if rows["rho0"].isna().all():
            height = 100 * rows["test_mean"].iloc[0]
            axes.axhline(height, color=colour, linestyle=(0, (4, 2, *dash)), label=label)
            continue
        rows = rows.sort_values("rho0")
        mean, std = 100 * rows["test_mean"], 100 * rows["test_std"].fillna(0)
        axes.plot(rows["rho0"], mean, color=colour, marker=marker, label=label, linestyle=(0, dash))
        axes.fill_between(
            rows["rho0"],
            (mean - std).clip(0),
            (mean + std).clip(upper=100),
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    positive = part.loc[part["rho0"] >= _LEAST, "rho0"]
    least = max(positive.min(), _MOST_APART * positive.max()) if len(positive) else 1.0
    if (part["rho0"] < least).any():  # a logarithm has no place for zero, nor a figure for all
        axes.set_xscale("symlog", linthresh=least)
    elif len(positive):
        axes.set_xscale("log")
        tried = sorted(set(positive))
        if tried[-1] / tried[0] <= _FEW:
            axes.set_xticks(tried, labels_that_fit(tried, [f"{value:.3g}" for value in tried]))
            axes.minorticks_off()
        else:
            axes.set_xticks(tried, minor=True)
            axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid()
