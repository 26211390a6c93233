"""Test accuracy, or another metric, against bytes or bits, and the Pareto front."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.style import (
    DASHES,
    FILLS,
    label_of,
    labels_that_fit,
    method_styles,
    panels,
    places_of_variants,
    setting_name,
    settings_of,
    shared_legend,
)
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric
from analysis.statistics.pareto import pareto_front

BITS: Mapping[str, str] = {
    "file_bytes": "bytes of the exported file",
    "network_bits": "mean bits per parameter",
    "bits": "bits per quantized weight",
}
"""Columns for the horizontal axis in order of preference -> label of the axis."""

_MOST_APART, _WIDEST = 0.035, 0.14
"""Distances by which adjacent points of one size, and the first and the last one, are shifted
sideways, as fractions of the size."""
_SHARE = 0.05
"""Largest distance of adjacent points of one size, as a fraction of the axis' width."""
_ONE_SIZE = 1.03
"""Largest ratio of adjacent sizes that count as one."""
_NARROW = 1.25
"""Ratio of the largest to the smallest size below which the axis is extended by it on both
sides."""
_NARROW_BYTES = 1.1
"""The same for bytes, which differ by less."""
_LOGARITHMIC = 4.0
"""Ratio of the largest to the smallest number of bytes from which on the axis is logarithmic."""
_FAR = 4.0
"""How many times as large as all others networks in full precision are that have a line instead of
a point, as they would push the others together."""
_LABEL_ROOM = 0.24
"""Fraction of the axis that the label of a size needs with the name of its set."""
_LONG = 100_000
"""Numbers of bytes from this one on are shown in kilobytes."""


def axis_of_bits(selected: pd.DataFrame) -> str | None:
    """The column of `BITS` for the horizontal axis: the first that every row has, or else bits.

    Args:
        selected: result of `selection.select`.

    Returns:
        None if the table has neither of them, or no size above 0.
    """
    for column in ("file_bytes", "network_bits"):
        if column in selected and has_size(selected, column).all():
            return column
    return "bits" if "bits" in selected and has_size(selected, "bits").any() else None


def has_size(selected: pd.DataFrame, by: str) -> pd.Series:
    """Whether each row has a place on the axis, which is logarithmic: a known size above 0.

    Args:
        selected: result of `selection.select`.
        by: a key of `BITS`.
    """
    is_placed: pd.Series = selected[by] > 0
    return is_placed


def pareto_figure(
    selected: pd.DataFrame,
    methods: Iterable[str] = (),
    metric: Metric = ACCURACY,
    *,
    by: str = "bits",
) -> Figure:
    """Plot the test value of each method against its size, with the Pareto front as a line.

    Bars are one standard deviation over seeds. Points of the same size are shifted sideways. Rows
    without a size (see `has_size`) are left out. Networks in full precision that are much larger
    than all others are dashed lines, with their size in the legend.

    Args:
        selected: result of `selection.select`, with values, and with the column `by`.
        methods: all methods of the sweep, which determine the colours.
        metric: what the trials are compared by.
        by: a key of `BITS`.
    """
    methods = list(dict.fromkeys([*methods, *selected["method"].unique()]))
    selected = selected[has_size(selected, by)]
    settings = settings_of(selected)
    columns = min(len(settings), 2)
    figure, grid = panels(-(-len(settings) // columns), columns, sharey=True)
    figure.set_size_inches(3.4 * columns, 2.2 * len(grid) + 0.5)
    styles, further = method_styles(methods), axis_columns(selected)
    places = places_of_variants(selected, styles)
    row = grid.flat
    for axes in row[len(settings) :]:
        axes.set_axis_off()
    for axes, (key, part) in zip(row, settings, strict=False):
        is_far = _far(part, by)
        unit = 1000 if by == "file_bytes" and part.loc[~is_far, by].max() >= _LONG else 1
        for _, point in part[is_far].iterrows():
            name = variant(point, further)
            colour, dash = styles[point["method"]][0], DASHES[places[name] % len(DASHES)]
            height, size = metric.factor * point["test_mean"], _size(point[by], by, unit)
            axes.axhline(
                height, color=colour, linestyle=(0, (4, 2, *dash)), label=f"{name}: {size}"
            )
        part = part[~is_far]
        front = pareto_front(part, by, metric)
        axes.step(
            front[by] / unit,
            metric.factor * front["test_mean"],
            where="post",
            color="#999999",
            linewidth=0.8,
        )
        order = part["method"].map(methods.index)
        for shift, (_, point) in zip(
            _shifts(list(part[by]), list(order)), part.iterrows(), strict=True
        ):
            colour, marker = styles[point["method"]]
            name = variant(point, further)
            axes.errorbar(
                point[by] * shift / unit,
                metric.factor * point["test_mean"],
                yerr=metric.factor * (0 if pd.isna(point["test_std"]) else point["test_std"]),
                color=colour,
                marker=marker or "d",
                fillstyle=FILLS[places[name] % len(FILLS)],
                markerfacecoloralt="white",
                linestyle="none",
                elinewidth=0.8,
                label=name,
            )
        sizes = sorted(set(part[by] / unit))
        if by != "file_bytes" or sizes[-1] / sizes[0] >= _LOGARITHMIC:
            axes.set_xscale("log", base=2)
        ticks = _ticks(part, by, unit)
        labels = labels_that_fit(list(ticks), list(ticks.values()), _LABEL_ROOM)
        axes.set_xticks(list(ticks), labels)
        axes.minorticks_off()
        if sizes[-1] / sizes[0] < _NARROW:  # without limits, the outer points lie on the edge
            margin = _NARROW if by != "file_bytes" else _NARROW_BYTES
            axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
        axes.set_title(setting_name(key))
        axes.set_xlabel(f"kilo{BITS[by]}" if unit == 1000 else BITS[by])
        axes.grid()
    for axes in grid[:, 0]:
        axes.set_ylabel(label_of("test", metric))
    shared_legend(figure, grid.flat)
    return figure


def _far(part: pd.DataFrame, by: str) -> pd.Series:
    """Which rows are in full precision, and much larger than all quantized ones."""
    quantized = part.loc[part["set"] != "", by]
    is_far: pd.Series = (part["set"] == "") & (part[by] >= _FAR * quantized.max())
    return is_far


def _size(value: float, by: str, unit: int) -> str:
    """A size with its unit, for the legend."""
    if by != "file_bytes":
        return f"{value:.3g} bits"
    return f"{value:,.0f} bytes" if unit == 1 else f"{value / unit:,.0f} kB"


def _ticks(part: pd.DataFrame, by: str, unit: int) -> dict[float, str]:
    """Place of each size -> its label: the size and, if it belongs to a single set, the set."""
    ticks = {}
    sizes = part[by].to_numpy(float)
    for cluster in _clusters(list(sizes)):
        own = sizes[cluster] / unit
        ends = dict.fromkeys(_number(end, by) for end in (own.min(), own.max()))
        sets = set(part["set"].iloc[cluster])
        name = sets.pop() if len(sets) == 1 else ""
        ticks[float((own.min() + own.max()) / 2)] = "\n".join(filter(None, ["–".join(ends), name]))
    return ticks


def _number(size: float, by: str) -> str:
    return f"{size:,.0f}" if by == "file_bytes" else f"{size:.3g}"


def _clusters(sizes: Sequence[float]) -> list[list[int]]:
    """The places of sizes, in groups of those that count as one, in ascending order of the size."""
    clusters: list[list[int]] = []
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
        if clusters and sizes[place] <= sizes[clusters[-1][-1]] * _ONE_SIZE:
            clusters[-1].append(place)
        else:
            clusters.append([place])
    return clusters


def _shifts(sizes: Sequence[float], order: Sequence[int]) -> list[float]:
    """Return the factor by which each point is moved, so that points of one size stay apart.

    Args:
        sizes: > 0, of each point.
        order: key of each point, by which points of one size are put from left to right.
    """
    width = math.log(max(sizes) / min(sizes) * _NARROW_BYTES**2)
    most_apart = min(_MOST_APART, _SHARE * width)
    shifts = [1.0] * len(sizes)
    for cluster in _clusters(sizes):
        apart = min(most_apart, _WIDEST / max(len(cluster) - 1, 1))
        for position, place in enumerate(sorted(cluster, key=lambda place: order[place])):
            shifts[place] = 1 + apart * (position - (len(cluster) - 1) / 2)
    return shifts
