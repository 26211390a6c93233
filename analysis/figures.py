"""Configurations -> figures."""

from collections import Counter

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.schema import AXIS_PREFIX

matplotlib.use("Agg")

_STYLE = {
    "BC": ("#000000", "s"),
    "PC": ("#0072b2", "o"),
    "PQ": ("#d55e00", "^"),
    "rPC": ("#009e73", "v"),
    "FP": ("#777777", ""),
}
"""The same colour and marker for a method everywhere; the colours of Okabe and Ito, which
colour-blind people tell apart."""
_DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (6, 2, 2, 2))
_FURTHER = (("#cc79a7", "D"), ("#e69f00", "P"), ("#56b4e9", "X"), ("#f0e442", "*"))


def sensitivity_figure(table: pd.DataFrame) -> Figure:
    """Test accuracy against rho0, a panel for each set, a row for each dataset, regime and model.

    An annealed method is a line over its own rho0 (log axis) with a band of one standard deviation
    over seeds; a method without rho0 is a horizontal line.

    Args:
        table: what `aggregate.configurations` gives.
    """
    finished = table[table["n"] > 0]
    settings = list(finished.groupby(["dataset", "regime", "model"], sort=False))
    sets = [name for name in dict.fromkeys(table["set"]) if name] or [""]
    figure = Figure(
        figsize=(3.6 * len(sets) + 1.2, 3.3 * max(len(settings), 1)), layout="constrained"
    )
    grid = figure.subplots(max(len(settings), 1), len(sets), squeeze=False, sharey="row")
    styles = _styles(table)
    for row, (key, part) in zip(grid, settings, strict=False):
        for axes, name in zip(row, sets, strict=True):
            _panel(axes, part[part["set"].isin((name, ""))], styles)
            axes.set_title(name)
        row[0].set_ylabel(f"{' · '.join(map(str, key))}\ntest accuracy (%)")
    for axes in grid[-1]:
        axes.set_xlabel("ρ0")
    handles = {
        label: handle
        for axes in grid.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=len(handles) or 1
    )
    return figure


def _styles(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    others = [method for method in dict.fromkeys(table["method"]) if method not in _STYLE]
    further = {method: _FURTHER[index % len(_FURTHER)] for index, method in enumerate(others)}
    return {**_STYLE, **further}


def _panel(axes: Axes, part: pd.DataFrame, styles: dict[str, tuple[str, str]]) -> None:
    further = [str(column) for column in part.columns if str(column).startswith(AXIS_PREFIX)]
    dashes: Counter[str] = Counter()
    for key, rows in part.groupby(["method", *further], sort=False):
        method, *values = map(str, key)
        colour, marker = styles[method]
        others = [
            f"{axis.removeprefix(AXIS_PREFIX)}={value}"
            for axis, value in zip(further, values, strict=True)
            if value
        ]
        label = " ".join([method, *others])
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
        )
    positive = part.loc[part["rho0"] > 0, "rho0"]
    if (part["rho0"] == 0).any():  # a logarithm has no place for it
        axes.set_xscale("symlog", linthresh=positive.min() if len(positive) else 1.0)
    elif len(positive):
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
