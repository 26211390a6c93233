"""Heat map of test accuracies or other values, methods against sets."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.style import (
    LOW,
    label_of,
    panels,
    sets_of,
    setting_name,
    settings_of,
    shades_of,
    text_colour,
)
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric

_CELL_WIDTH, _LETTER_WIDTH = 0.8, 0.055
"""Width in inches of a cell, and of a letter of a title."""


def heat_map(selected: pd.DataFrame, metric: Metric = ACCURACY) -> Figure:
    """Plot the mean test accuracy, or value of another metric, of each method on each set.

    There is a panel for each dataset, model and regime. Better values are brighter. A star marks
    cells in which some seeds have no value.

    Args:
        selected: result of `selection.select`, with values.
        metric: what the trials are compared by.
    """
    quantized = selected[selected["set"] != ""]
    settings, sets = settings_of(quantized), sets_of(quantized)
    further = axis_columns(quantized)
    names = [variant(row, further) for row in quantized.to_dict("records")]
    columns = min(len(settings), 2) or 1
    figure, grid = panels(-(-len(settings) // columns) or 1, columns, sharey=True)
    longest = max((len(setting_name(key)) for key, _ in settings), default=0)
    is_narrow = columns > 1 and _LETTER_WIDTH * longest > _CELL_WIDTH * len(sets)
    height = 0.26 * max(len(set(names)), 1) + 0.4 + 0.3 * is_narrow
    width = _CELL_WIDTH * len(sets) * columns + 1.4 + 0.07 * max(map(len, names), default=0)
    figure.set_size_inches(width, height * len(grid) + 0.3)
    row = grid.flat
    for axes in row[len(settings) :]:
        axes.set_axis_off()
    values = metric.factor * quantized["test_mean"]
    shown = None
    methods = list(dict.fromkeys(names))
    rows_of, columns_of = ({name: place for place, name in enumerate(of)} for of in (methods, sets))
    for axes, (key, part) in zip(row, settings, strict=False):
        fewer = set()
        means = np.full((len(methods), len(sets)), np.nan)
        for cell in part.to_dict("records"):
            place = rows_of[variant(cell, further)], columns_of[cell["set"]]
            means[place] = cell["test_mean"]
            if cell["n"] < cell["seeds"]:
                fewer.add(place)
        heights = metric.factor * means
        shown = axes.imshow(
            heights,
            cmap=shades_of(metric),
            vmin=values.min(),
            vmax=values.max(),
            aspect="auto",
        )
        middle = (values.min() + values.max()) / 2
        for y in range(len(methods)):
            for x in range(len(sets)):
                value = float(means[y, x])
                axes.text(
                    x,
                    y,
                    f"{metric.text(value, fewer=1) or '–'}{'*' if (y, x) in fewer else ''}",
                    ha="center",
                    va="center",
                    color=text_colour(float(heights[y, x]), middle, metric),
                )
        axes.set_xticks(range(len(sets)), sets)
        axes.set_yticks(range(len(methods)), methods)
        axes.set_title("\n".join(map(str, key)) if is_narrow else setting_name(key))
    if shown is not None:
        figure.colorbar(shown, ax=list(grid.flat), label=label_of("test", metric, LOW))
    return figure
