"""Proximal maps, in the layout of Figure 1 of the ProxConnect paper."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from analysis.figures.style import SHADES, panels, shared_legend

_DARKEST, _LIGHTEST = 0.3, 0.9
"""Upper end of the colour map that is used; lighter colours are hard to see on paper."""


def maps_figure(maps: pd.DataFrame) -> Figure:
    """Plot proximal maps, w = P(w*) against w*.

    There is a panel for each row and column of the table, and a line for each of its curves; later
    curves are lighter.

    Args:
        maps: columns of `columns.MAPS`, rows of one figure.
    """
    rows, columns = list(dict.fromkeys(maps["row"])), list(dict.fromkeys(maps["column"]))
    figure, grid = panels(len(rows), len(columns), sharex=True, sharey=True)
    by_panel = dict(iter(maps.groupby(["row", "column"], sort=False)))
    for line, row in zip(grid, rows, strict=True):
        for axes, column in zip(line, columns, strict=True):
            if (row, column) not in by_panel:
                axes.set_axis_off()
                continue
            curves = dict(iter(by_panel[row, column].groupby("curve", sort=False)))
            for position, (label, curve) in enumerate(curves.items()):
                place = position / max(len(curves) - 1, 1)
                shade = colormaps[SHADES](_DARKEST + (_LIGHTEST - _DARKEST) * place)
                axes.plot(curve["latent"], curve["proximal"], color=shade, label=label or None)
            axes.set_title(column)
            axes.grid()
        line[0].set_ylabel(f"{row}\nw = P(w*)" if row else "w = P(w*)")
    for axes in grid[-1]:
        axes.set_xlabel("w*")
    shared_legend(figure, grid.flat)
    return figure
