"""Accuracy against the bits of a weight."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis.aggregate import axis_columns
from analysis.figures.style import (
    method_styles,
    panels,
    setting_name,
    settings_of,
    shared_legend,
    variant,
)


def pareto_figure(selected: pd.DataFrame, methods: Iterable[str] = ()) -> Figure:
    """Test accuracy of each method over bits a weight; the line joins what nothing else beats.

    A bar is one standard deviation over seeds. Full precision counts as 32 bits. Methods stand a
    little beside one another.

    Args:
        selected: what `selection.select` gives, with `bits`.
        methods: all methods of the sweep, for their colours.
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
        front = pareto_front(part)
        axes.step(
            front["bits"], 100 * front["test_mean"], where="post", color="#999999", linewidth=0.8
        )
        for _, point in part.iterrows():
            colour, marker = styles[point["method"]]
            beside = 1 + 0.035 * (methods.index(point["method"]) - (len(methods) - 1) / 2)
            axes.errorbar(
                point["bits"] * beside,
                100 * point["test_mean"],
                yerr=100 * (0 if pd.isna(point["test_std"]) else point["test_std"]),
                color=colour,
                marker=marker or "d",
                linestyle="none",
                elinewidth=0.8,
                label=variant(point, further),
            )
        axes.set_xscale("log", base=2)
        bits = sorted(set(part["bits"]))
        axes.set_xticks(bits, [f"{value:.3g}" for value in bits])
        axes.minorticks_off()
        axes.set_title(setting_name(key))
        axes.set_xlabel("bits a weight")
        axes.grid()
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy (%)")
    shared_legend(figure, grid.flat)
    return figure


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats in accuracy with as few bits, by rising bits."""
    ordered = points.sort_values(["bits", "test_mean"], ascending=[True, False])
    best_so_far = ordered["test_mean"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["test_mean"] > best_so_far]
