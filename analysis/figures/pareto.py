"""Test accuracy against bytes or bits, and the Pareto front."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.style import (
    FILLS,
    labels_that_fit,
    method_styles,
    panels,
    places_of_variants,
    setting_name,
    settings_of,
    shared_legend,
    variant,
)

BITS: Mapping[str, str] = {
    "file_bytes": "kilobytes of the exported network",
    "network_bits": "mean bits per parameter",
    "bits": "bits per quantized weight",
}
"""Columns for the horizontal axis in order of preference -> label of the axis."""


_MOST_APART, _WIDEST = 0.035, 0.14
"""Distances by which adjacent methods, and the first and the last one, are shifted sideways, as
fractions of the bits. Points of one set stay apart from those of another."""
_NARROW = 1.25
"""Ratio of the largest to the smallest bits below which the axis is extended by it on both
sides."""


def axis_of_bits(selected: pd.DataFrame) -> str | None:
    """The column of `BITS` for the horizontal axis: the first that every row has, or else bits.

    Args:
        selected: result of `selection.select`.

    Returns:
        None if the table has neither.
    """
    for column in ("file_bytes", "network_bits"):
        if column in selected and selected[column].notna().all():
            return column
    return "bits" if "bits" in selected else None


def pareto_figure(
    selected: pd.DataFrame, methods: Iterable[str] = (), *, by: str = "bits"
) -> Figure:
    """Plot the test accuracy of each method against its size, with the Pareto front as a line.

    Bars are one standard deviation over seeds. Points of the same set are shifted sideways.

    Args:
        selected: result of `selection.select`, with the column `by`.
        methods: all methods of the sweep, which determine the colours.
        by: a key of `BITS`.
    """
    settings = settings_of(selected)
    columns = min(len(settings), 2)
    figure, grid = panels(-(-len(settings) // columns), columns, sharey=True)
    figure.set_size_inches(3.4 * columns, 2.2 * len(grid) + 0.5)
    methods = list(dict.fromkeys([*methods, *selected["method"]]))
    styles, further = method_styles(methods), axis_columns(selected)
    places = places_of_variants(selected)
    apart = min(_MOST_APART, _WIDEST / max(len(methods) - 1, 1))
    row = grid.flat
    for axes in row[len(settings) :]:
        axes.set_axis_off()
    for axes, (key, part) in zip(row, settings, strict=False):
        front = pareto_front(part, by)
        axes.step(front[by], 100 * front["test_mean"], where="post", color="#999999", linewidth=0.8)
        for _, point in part.iterrows():
            colour, marker = styles[point["method"]]
            name = variant(point, further)
            beside = 1 + apart * (methods.index(point["method"]) - (len(methods) - 1) / 2)
            axes.errorbar(
                point[by] * beside,
                100 * point["test_mean"],
                yerr=100 * (0 if pd.isna(point["test_std"]) else point["test_std"]),
                color=colour,
                marker=marker or "d",
                fillstyle=FILLS[places[name] % len(FILLS)],
                markerfacecoloralt="white",
                linestyle="none",
                elinewidth=0.8,
                label=name,
            )
        axes.set_xscale("log", base=2)
        bits = sorted(set(part[by]))
        unit = 1000 if by == "file_bytes" else 1
        axes.set_xticks(bits, labels_that_fit(bits, [f"{value / unit:.3g}" for value in bits]))
        axes.minorticks_off()
        if bits[-1] / bits[0] < _NARROW:  # without limits, the outer points lie on the panel's edge
            axes.set_xlim(bits[0] / _NARROW, bits[-1] * _NARROW)
        axes.set_title(setting_name(key))
        axes.set_xlabel(BITS[by])
        axes.grid()
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy (%)")
    shared_legend(figure, grid.flat)
    return figure


def pareto_front(points: pd.DataFrame, by: str = "bits") -> pd.DataFrame:
    """The Pareto front, in ascending order of the size.

    Args:
        points: with `test_mean` and the column `by`.
        by: column of the size.
    """
    ordered = points.sort_values([by, "test_mean"], ascending=[True, False])
    best_so_far = ordered["test_mean"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["test_mean"] > best_so_far]
