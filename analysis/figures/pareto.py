"""Accuracy against the bits of a weight."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.style import (
    labels_that_fit,
    method_styles,
    panels,
    setting_name,
    settings_of,
    shared_legend,
    variant,
)

BITS: Mapping[str, str] = {
    "network_bits": "mean bits per parameter",
    "bits": "bits per quantized weight",
}
"""What the figure can have on its axis, the better one first, and what that is called."""


def axis_of_bits(selected: pd.DataFrame) -> str | None:
    """The whole network's where they are known of every row, else a weight's; None without any.

    Args:
        selected: what `selection.select` gives.
    """
    if "network_bits" in selected and selected["network_bits"].notna().all():
        return "network_bits"
    return "bits" if "bits" in selected else None


def pareto_figure(
    selected: pd.DataFrame, methods: Iterable[str] = (), *, by: str = "bits"
) -> Figure:
    """Test accuracy of each method over its bits; the line joins what nothing else beats.

    A bar is one standard deviation over seeds. Full precision counts as 32 bits. Methods stand a
    little beside one another.

    Args:
        selected: what `selection.select` gives, with the column `by`.
        methods: all methods of the sweep, for their colours.
        by: a column of `BITS`.
    """
    settings = settings_of(selected)
    columns = min(len(settings), 2)
    figure, grid = panels(-(-len(settings) // columns), columns, sharey=True)
    figure.set_size_inches(3.4 * columns, 2.2 * len(grid) + 0.5)
    methods = list(dict.fromkeys([*methods, *selected["method"]]))
    styles, further = method_styles(methods), axis_columns(selected)
    row = grid.flat
    for axes in row[len(settings) :]:
        axes.set_axis_off()
    for axes, (key, part) in zip(row, settings, strict=False):
        front = pareto_front(part, by)
        axes.step(front[by], 100 * front["test_mean"], where="post", color="#999999", linewidth=0.8)
        for _, point in part.iterrows():
            colour, marker = styles[point["method"]]
            beside = 1 + 0.035 * (methods.index(point["method"]) - (len(methods) - 1) / 2)
            axes.errorbar(
                point[by] * beside,
                100 * point["test_mean"],
                yerr=100 * (0 if pd.isna(point["test_std"]) else point["test_std"]),
                color=colour,
                marker=marker or "d",
                linestyle="none",
                elinewidth=0.8,
                label=variant(point, further),
            )
        axes.set_xscale("log", base=2)
        bits = sorted(set(part[by]))
        axes.set_xticks(bits, labels_that_fit(bits, [f"{value:.3g}" for value in bits]))
        axes.minorticks_off()
        axes.set_title(setting_name(key))
        axes.set_xlabel(BITS[by])
        axes.grid()
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy (%)")
    shared_legend(figure, grid.flat)
    return figure


def pareto_front(points: pd.DataFrame, by: str = "bits") -> pd.DataFrame:
    """The rows that no other beats in accuracy with as few bits, by rising bits."""
    ordered = points.sort_values([by, "test_mean"], ascending=[True, False])
    best_so_far = ordered["test_mean"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["test_mean"] > best_so_far]
