"""Style of all figures: sizes for print, and one colour and marker for each method."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from analysis.columns import axis_columns
from analysis.labels import labels_of, variant
from analysis.metric import Metric
from analysis.statistics.aggregate import SETTING
from analysis.text import plain

PANEL_WIDTH, PANEL_HEIGHT = 2.2, 1.9
"""Size of a panel in inches; three panels fill a text width of 7 inches."""
PRINT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "quantlab",
}
"""Settings of matplotlib. No letter is smaller than 7 points in print."""

LONGEST = 24
"""Letters of a label, which then is about as wide as a panel."""
_HANDLE_WIDTH, _LETTER_WIDTH = 0.5, 0.062
"""Width in inches of an entry of a legend without its text, and of a letter."""

_LINE_HEIGHT, _FREE_LINES = 0.16, 3
"""Height in inches of a line of a legend, and number of lines that fit without a taller figure."""

TALL, LOW = 32, 20
"""Letters that fit beside a panel, and beside one of few rows."""

Styles = Mapping[str, tuple[str, str]]
"""Method -> (colour, marker)."""

_KNOWN: Styles = {
    "BC": ("#000000", "s"),
    "PC": ("#0072b2", "o"),
    "PQ": ("#d55e00", "^"),
    "rPC": ("#009e73", "v"),
    "FP": ("#777777", ""),
}
"""Colours of Okabe and Ito, which are distinct with colour blindness; markers differ, too."""
_FURTHER = (("#cc79a7", "D"), ("#e69f00", "P"), ("#56b4e9", "X"), ("#f0e442", "*"))
DASHES: tuple[tuple[int, ...], ...] = (
    (),
    (6, 2),
    (2, 2),
    (6, 2, 2, 2),
    (6, 2, 2, 2, 2, 2),
    (1, 1),
)
"""Dashes of lines of one colour: lengths of lines and gaps, in widths of a line."""
FILLS = ("full", "none", "left", "right", "top", "bottom")
"""Which part of markers of one colour is filled."""
SOFT = "#555555"
"""Colour of lines that guide the eye."""
_ON_BRIGHT = "#111111"
"""Colour of text on a bright cell. It is not black, which follows the theme of a page."""
SHADES = "cividis"
"""Colour map for values without a method; its lightness is monotone."""


def shades_of(metric: Metric) -> str:
    """The colour map for values of a metric, of which better ones are brighter."""
    return SHADES if metric.higher_is_better else f"{SHADES}_r"


def text_colour(value: float, middle: float, metric: Metric) -> str:
    """The colour of text on a cell of `shades_of` a metric, which is empty without a value.

    Args:
        value: value of the cell; NaN if it is missing.
        middle: value between bright and dark cells.
        metric: of which better values are brighter.
    """
    if math.isnan(value):
        return "black"
    return _ON_BRIGHT if metric.sign * (value - middle) > 0 else "white"


def label_of(split: str, metric: Metric, longest: int = TALL) -> str:
    """The label of an axis with values of a metric, in lines of at most so many letters."""
    return "\n".join(wrap(f"{split} {metric.with_unit}", longest))


def method_styles(methods: Iterable[str]) -> Styles:
    """Colour and marker of each method.

    Args:
        methods: names; those that are not in the papers get a style in order of appearance.
    """
    others = [method for method in dict.fromkeys(methods) if method not in _KNOWN]
    count = len(_FURTHER)
    further = {
        # When the colours are used up, they repeat with other markers.
        method: (_FURTHER[i % count][0], _FURTHER[(i + i // count) % count][1])
        for i, method in enumerate(others)
    }
    return {**_KNOWN, **further}


def drawable_labels(names: Iterable[str]) -> dict[str, str]:
    """The label of each name in a figure; see `labels.labels_of`.

    Letters that the font does not have are shown as their code points, and ``$`` is escaped so that
    matplotlib does not typeset mathematics. A space stands before ``_`` at the start, as matplotlib
    would leave such a label out of a legend.

    Args:
        names: in the order in which equal labels are numbered.

    Returns:
        Name -> label.
    """
    known = get_font(findfont(FontProperties())).get_charmap()

    def write(name: str) -> str:
        text = "".join(
            letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in plain(name)
        )
        return f" {text}" if text.startswith("_") else text

    return {name: own.replace("$", r"\$") for name, own in labels_of(names, LONGEST, write).items()}


def for_print() -> Any:
    """A context manager with the settings `PRINT`, in which figures are made and saved."""
    return rc_context(dict(PRINT))


def sets_of(table: pd.DataFrame) -> list[str]:
    """The quantization sets, in order of appearance."""
    return [name for name in table["set"].unique() if name] or [""]


def settings_of(table: pd.DataFrame) -> list[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """Each dataset, model and regime, with its rows."""
    return list(table.groupby(list(SETTING), sort=False))


def setting_name(key: Sequence[Hashable]) -> str:
    """Dataset, model and regime as a heading."""
    return " · ".join(map(str, key))


def row_label(key: Sequence[Hashable], label: str) -> str:
    """The label of the vertical axis of a row of panels: its setting, and what is drawn."""
    return "\n".join([*wrap(setting_name(key), TALL, break_on_hyphens=False), label])


def places_of_variants(table: pd.DataFrame, styles: Styles) -> dict[str, int]:
    """The place of each variant among those of its colour, from 0.

    Variants of a method, and methods that share a colour, differ in `DASHES` or `FILLS`.

    Args:
        table: with `method` and columns of further axes.
        styles: result of `method_styles`.

    Returns:
        Name as `variant` returns it -> place.
    """
    further = axis_columns(table)
    names: dict[str, dict[str, int]] = {}
    for _, row in table.drop_duplicates(["method", *further]).iterrows():
        own = names.setdefault(styles[row["method"]][0], {})
        own.setdefault(variant(row, further), len(own))
    return {name: place for own in names.values() for name, place in own.items()}


def panels(rows: int, columns: int, **options: Any) -> tuple[Figure, NDArray[Any]]:
    """A figure with a grid of panels.

    Args:
        rows: number of rows.
        columns: number of columns.
        options: keyword arguments of `Figure.subplots`.

    Returns:
        The figure, and its axes as an array (rows, columns).
    """
    figure = Figure(
        figsize=(PANEL_WIDTH * columns + 0.6, PANEL_HEIGHT * rows + 0.5), layout="constrained"
    )
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **options))


def draw_bands(axes: Axes, bands: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, str]]) -> None:
    """Fill the room between two curves for each of some lines.

    The limits of the axes are computed once for all; matplotlib would compute them for each.

    Args:
        axes: where to draw.
        bands: places on the horizontal axis, lower and upper ends, and colour of each.
    """
    if not bands:
        return
    axes.set_autoscale_on(False)
    for places, low, high, colour in bands:
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_autoscale_on(True)
    axes.autoscale_view()


def shared_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Draw one legend with all labels of the panels above them, those of collections last."""
    handles = {
        label: handle
        for each in axes
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True)
    }
    handles = dict(sorted(handles.items(), key=lambda item: isinstance(item[1], Collection)))
    if handles:
        widest = _HANDLE_WIDTH + _LETTER_WIDTH * max(map(len, handles))
        columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
        lines = -(-len(handles) // columns)
        # A legend of many lines must not shrink the panels.
        figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * max(0, lines - _FREE_LINES))
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper center",
            ncols=columns,
            frameon=False,
            columnspacing=1.2,
        )


def whole_epochs(axes: Axes) -> None:
    """Put the ticks of a horizontal axis of epochs at whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def freeze_layout(figure: Figure) -> None:
    """Compute the constrained layout of a figure once, for all files that show it.

    What drawing it would compute again are the places of titles, and of labels without a text. Both
    take long, as matplotlib looks at every tick for each.
    """
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(*axis.label.get_position())
    figure.set_layout_engine("constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_title(axes.get_title(), y=axes.title.get_position()[1])


_ROOM = 0.15
"""Fraction of a panel's width that the label of a tick needs."""


def labels_that_fit(
    values: Sequence[float], labels: Sequence[str], room: float = _ROOM
) -> list[str]:
    """Labels of ticks on a logarithmic axis; those that would touch the one before are empty.

    Args:
        values: > 0, ascending.
        labels: one for each value.
        room: fraction of the width that a label needs.
    """
    span = math.log(values[-1] / values[0])
    fitting, last = [], -math.inf
    for value, label in zip(values, labels, strict=True):
        place = math.log(value / values[0]) / span if span else 0.0
        fits = place - last >= room
        fitting.append(label if fits else "")
        last = place if fits else last
    return fitting
