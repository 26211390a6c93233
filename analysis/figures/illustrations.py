"""Figures of formulas instead of trials: curves in panels."""

from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from analysis.figures.style import SHADES, method_styles, panels, shared_legend

_LIGHTEST = 0.9
"""Upper end of the colour map that is used; lighter colours are hard to see on paper."""
_MARKERS = 8
"""Number of markers on a curve of a method."""


def illustration(curves: pd.DataFrame, *, of_methods: bool = False, reference: str = "") -> Figure:
    """Plot curves that have been computed elsewhere.

    There is a panel for each row and column of the table, and a line for each of its curves.

    Args:
        curves: one row per point, with the columns row and column (the panel, whose title they
            are), curve (a label), x, y, x_label and y_label (those of the panel).
        of_methods: whether the curves are methods, which have their colours and markers. Otherwise,
            they are values of a parameter, and later ones are lighter.
        reference: name of a curve that is none of these; it is black.
    """
    rows, columns = list(dict.fromkeys(curves["row"])), list(dict.fromkeys(curves["column"]))
    names = list(dict.fromkeys(curves["curve"]))
    figure, grid = panels(len(rows), len(columns))
    styles = method_styles(names)
    by_panel = dict(iter(curves.groupby(["row", "column"], sort=False)))
    for line, row in zip(grid, rows, strict=True):
        for axes, column in zip(line, columns, strict=True):
            if (row, column) not in by_panel:
                axes.set_axis_off()
                continue
            panel = by_panel[row, column]
            for name, curve in panel.groupby("curve", sort=False):
                place = names.index(str(name))
                colour: Any
                colour, marker = styles[str(name)]
                if not of_methods:
                    colour = colormaps[SHADES](_LIGHTEST * place / max(len(names) - 1, 1))
                every = max(len(curve) // _MARKERS, 1)
                is_reference = name == reference
                axes.plot(
                    curve["x"],
                    curve["y"],
                    color="black" if is_reference else colour,
                    marker=marker if of_methods and not is_reference else "",
                    # Markers of curves that coincide stand beside one another.
                    markevery=(place * every // len(names), every),
                    label=name,
                )
            axes.set_title(": ".join(filter(None, (row, column))))
            axes.set_xlabel(panel["x_label"].iloc[0])
            axes.set_ylabel(panel["y_label"].iloc[0])
            axes.grid()
    shared_legend(figure, grid.flat)
    return figure
