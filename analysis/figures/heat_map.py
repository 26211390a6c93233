"""Heat map of test accuracies or other values, methods against sets."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.emphasis import Emphasis, emphasis_of
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
_ROW, _LOW_ROW = 0.26, 0.14
"""Height in inches of a row, and if there are more rows than have numbers."""
_ABREAST, _MOST_ABREAST, _TALL = 2, 4, 10.0
"""Number of panels in a row of them, the same at most, and height of a figure in inches above which
it has more than the former: a page of a paper is not higher."""
_GAP = 3.0
"""Points between a panel and the names of its rows."""
_BAR, _USUAL_HEIGHT = 20.0, 5.0
"""Height of the bar of colours divided by its width, and height in inches of a figure from which on
the bar becomes no wider."""


def heat_map(
    selected: pd.DataFrame, metric: Metric = ACCURACY, emphasis: Emphasis | None = None
) -> Figure:
    """Plot the mean test accuracy, or value of another metric, of each method on each set.

    There is a panel for each dataset, model and regime; more of them stand side by side if the
    figure were too tall otherwise. Better values are brighter. A star marks cells in which some
    seeds have no value. Of more variants than `emphasis.MOST`, only the best have numbers.

    Args:
        selected: result of `selection.select`, with values.
        metric: what the trials are compared by.
        emphasis: the variants with numbers; by default those of `numbered`.
    """
    quantized = selected[selected["set"] != ""]
    settings, sets = settings_of(quantized), sets_of(quantized)
    further = axis_columns(quantized)
    names = [variant(row, further) for row in quantized.to_dict("records")]
    emphasis = emphasis or numbered(selected, metric)
    row_height = _LOW_ROW if emphasis.num_others else _ROW
    longest = max((len(setting_name(key)) for key, _ in settings), default=0)
    is_narrow = len(settings) > 1 and _LETTER_WIDTH * longest > _CELL_WIDTH * len(sets)
    height = row_height * max(len(set(names)), 1) + 0.4 + 0.3 * is_narrow
    wanted = math.ceil(len(settings) / max(_TALL // height, 1))
    columns = min(len(settings), max(_ABREAST, min(wanted, _MOST_ABREAST))) or 1
    figure, grid = panels(-(-len(settings) // columns) or 1, columns, sharey=True)
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
        for y, name in enumerate(methods):
            for x in range(len(sets)):
                text = _text(float(means[y, x]), name, emphasis, metric)
                text += "*" if (y, x) in fewer else ""
                if text:
                    colour = text_colour(float(heights[y, x]), middle, metric)
                    axes.text(x, y, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(sets)), sets)
        axes.yaxis.set_visible(False)
        if axes in grid[:, 0]:
            _name_rows(axes, methods)
        axes.set_title("\n".join(map(str, key)) if is_narrow else setting_name(key))
    if shown is not None:
        label = label_of("test", metric, LOW)
        aspect = max(_BAR, _BAR / _USUAL_HEIGHT * figure.get_figheight())
        figure.colorbar(shown, ax=list(grid.flat), label=label, aspect=aspect)
    return figure


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of the rows on the left. As labels of ticks, they would take far longer."""
    place, up, across = axes.get_yaxis_text1_transform(_GAP)
    for y, name in enumerate(names):
        axes.text(0, y, name, transform=place, va=up, ha=across)


def _text(mean: float, name: str, emphasis: Emphasis, metric: Metric) -> str:
    """The text of a cell: a number, a dash without one, or nothing if the method is no best one."""
    if np.isnan(mean):
        return "–"
    return metric.text(mean, fewer=1) if name in emphasis.names else ""


def numbered(selected: pd.DataFrame, metric: Metric = ACCURACY) -> Emphasis:
    """The variants whose cells have numbers: all, or the best of many.

    Args:
        selected: see `heat_map`.
        metric: see `heat_map`.
    """
    return emphasis_of(selected[selected["set"] != ""], metric)


def note_on_numbers(emphasis: Emphasis) -> str:
    """A sentence for the caption of `heat_map`; empty if all cells have numbers."""
    if not emphasis.num_others:
        return ""
    return f" Numbers are those of the {len(emphasis.names)} methods with the {emphasis.reason}."
