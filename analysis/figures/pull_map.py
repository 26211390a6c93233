"""Test accuracy, or another metric, over theta and rho0, and how much rho0 matters at each theta.

Theta is the pull: steps start from (1 - theta) w* + theta w, so that 0 is ProxConnect and 1 is
ProxQuant.
"""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.figures.style import (
    LOW,
    PANEL_WIDTH,
    SOFT,
    label_of,
    panels,
    sets_of,
    shades_of,
    text_colour,
)
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric
from analysis.rounding import rho0_label
from analysis.statistics.aggregate import SETTING, family_keys

THETA = f"{AXIS_PREFIX}theta"
"""Column of the axis."""
_ROW_HEIGHT = 0.2
"""Height of a theta in inches."""
_MOST_WRITTEN = 5
"""Number of rho0 up to which the values are written into the cells."""


def pull_settings(
    table: pd.DataFrame,
) -> Iterator[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """The settings for which there is a map, with their configurations.

    Args:
        table: result of `aggregate.configurations`.

    Yields:
        Dataset, model and regime, and the configurations of all methods, sets and further axes that
        have several theta with several rho0 each.
    """
    if THETA not in table:
        return
    tried = table[(table["set"] != "") & table["rho0"].notna()]
    keys = [key for key in family_keys(tried) if key != THETA]
    parts = [
        part
        for _, part in tried.groupby(keys, sort=False)
        if part[THETA].nunique() > 1 and part.groupby(THETA)["rho0"].nunique().min() > 1
    ]
    if parts:
        yield from pd.concat(parts).groupby(list(SETTING), sort=False)


def pull_map(setting: pd.DataFrame, ranges: pd.DataFrame, metric: Metric = ACCURACY) -> Figure:
    """Plot values over theta and rho0, and beside them the range over rho0 at each theta.

    There is a row of panels for each method, with the values of further axes, and a pair of panels
    for each set. A star marks cells in which some seeds have no value. A line beside the map
    ends at the upper limit of the range, by simultaneous 95 % intervals.

    Args:
        setting: configurations of one setting, with values; see `pull_settings`.
        ranges: result of `sensitivity.sensitivity` for these configurations.
        metric: what the trials are compared by.
    """
    further = [column for column in axis_columns(setting) if column != THETA]
    sets, thetas = sets_of(setting), _ascending(setting[THETA])
    rows = list(setting.groupby(["method", *further], sort=False))
    widths = [max(setting["rho0"].nunique(), 3), 2] * len(sets)
    figure, grid = panels(len(rows), 2 * len(sets), width_ratios=widths, sharey=True)
    figure.set_size_inches(
        PANEL_WIDTH * len(sets) + 0.6, (_ROW_HEIGHT * len(thetas) + 0.6) * len(rows) + 0.4
    )
    values = metric.factor * setting["test_mean"]
    most = metric.factor * ranges["range_upper"].fillna(ranges["range"]).max()
    shown: AxesImage | None = None
    for line, (_, part) in zip(grid, rows, strict=True):
        line[0].set_ylabel(f"{variant(part.iloc[0], further)}\nθ")
        line[0].set_yticks(range(len(thetas)), thetas)
        for place, name in enumerate(sets):
            cells = part[part["set"] == name]
            left, right = line[2 * place], line[2 * place + 1]
            shown = _map(left, cells, thetas, values.min(), values.max(), metric) or shown
            left.set_title(name)
            of_same = _of_same(ranges, cells, [*SETTING, "method", "set", *further])
            _ranges(right, of_same, thetas, metric)
            right.set_xlim(0, 1.05 * most if most > 0 else 1)
            right.set_title("range")
    for place in range(len(sets)):
        grid[-1, 2 * place].set_xlabel("ρ0")
        grid[-1, 2 * place + 1].set_xlabel(metric.points)
    if shown is not None:
        figure.colorbar(shown, ax=list(grid.flat), label=label_of("test", metric, LOW))
    return figure


def _map(
    axes: Axes,
    cells: pd.DataFrame,
    thetas: Sequence[str],
    lowest: float,
    highest: float,
    metric: Metric,
) -> AxesImage | None:
    rho0 = sorted(set(cells["rho0"]))
    if not rho0:
        axes.set_axis_off()
        return None
    heights = np.full((len(thetas), len(rho0)), np.nan)
    for _, cell in cells.iterrows():
        y, x = thetas.index(cell[THETA]), rho0.index(cell["rho0"])
        heights[y, x] = metric.factor * cell["test_mean"]
        if len(rho0) <= _MOST_WRITTEN:
            height, middle = heights[y, x], (lowest + highest) / 2
            axes.text(
                x,
                y,
                (metric.text(cell["test_mean"], fewer=1) or "–")
                + ("*" if cell["n"] < cell["seeds"] else ""),
                ha="center",
                va="center",
                fontsize=7,
                color=text_colour(float(height), middle, metric),
            )
    axes.set_xticks(range(len(rho0)), [rho0_label(value, 2) for value in rho0], rotation=45)
    return axes.imshow(
        heights,
        cmap=shades_of(metric),
        vmin=lowest,
        vmax=highest,
        aspect="auto",
        origin="lower",
    )


def _ranges(axes: Axes, ranges: pd.DataFrame, thetas: Sequence[str], metric: Metric) -> None:
    places = [thetas.index(theta) for theta in ranges[THETA]]
    widths, most = metric.factor * ranges["range"], metric.factor * ranges["range_upper"]
    axes.hlines(places, widths, most, color=SOFT)
    axes.plot(widths, places, "o", color="black", markersize=3)
    axes.grid()


def _of_same(ranges: pd.DataFrame, cells: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The rows with the values that the cells have in common."""
    if cells.empty:
        return ranges[:0]
    return ranges[(ranges[list(keys)] == cells[list(keys)].iloc[0]).all(axis=1)]


def _ascending(thetas: pd.Series) -> list[str]:
    """The different thetas in ascending order, or in that of the sweep if one is not a number."""
    numbers = pd.to_numeric(thetas, errors="coerce")
    if not numbers.isna().any():
        thetas = thetas.loc[numbers.sort_values(kind="stable").index]
    return list(dict.fromkeys(thetas))
