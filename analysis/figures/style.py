"""What all figures share: sizes for print, and the same colour for a method everywhere."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from analysis.labels import shown
from analysis.statistics.aggregate import SETTING
from analysis.text import plain

PANEL_WIDTH, PANEL_HEIGHT = 2.2, 1.9
"""Inches; three panels side by side fill a page's text width of 7 inches."""
PRINT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "quantlab",
}
"""At the size they are made for, no letter is smaller than 7 points."""

LONGEST = 24
"""Letters of a name; a panel is as wide."""
_HANDLE_WIDTH, _LETTER_WIDTH = 0.5, 0.062
"""Inches that an entry of a legend takes, and each letter of it."""

_LINE_HEIGHT, _FREE_LINES = 0.16, 3
"""Inches of a legend's line, and how many of them a figure has room for."""

Styles = Mapping[str, tuple[str, str]]
"""Method -> (colour, marker)."""

_KNOWN: Styles = {
    "BC": ("#000000", "s"),
    "PC": ("#0072b2", "o"),
    "PQ": ("#d55e00", "^"),
    "rPC": ("#009e73", "v"),
    "FP": ("#777777", ""),
}
"""The colours of Okabe and Ito, which colour-blind people tell apart; markers say it once more."""
_FURTHER = (("#cc79a7", "D"), ("#e69f00", "P"), ("#56b4e9", "X"), ("#f0e442", "*"))
SHADES = "cividis"
"""For what has no method: read alike with and without colour vision, and in grey."""


def method_styles(methods: Iterable[str]) -> Styles:
    """The methods' styles; those that are not in the papers get theirs in order of appearance."""
    others = [method for method in dict.fromkeys(methods) if method not in _KNOWN]
    count = len(_FURTHER)
    further = {
        # After all colours, the same ones with the next markers.
        method: (_FURTHER[i % count][0], _FURTHER[(i + i // count) % count][1])
        for i, method in enumerate(others)
    }
    return {**_KNOWN, **further}


def drawn(names: Iterable[str]) -> dict[str, str]:
    """Name -> what is drawn for it; see `labels.shown`.

    Letters that the font does not have are named by their number, and what stands between two ``$``
    is no mathematics.
    """
    known = get_font(findfont(FontProperties())).get_charmap()

    def write(name: str) -> str:
        return "".join(
            letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in plain(name)
        )

    return {name: own.replace("$", r"\$") for name, own in shown(names, LONGEST, write).items()}


def for_print() -> Any:
    """A context in which figures are made and saved."""
    return rc_context(dict(PRINT))


def sets_of(table: pd.DataFrame) -> list[str]:
    """The quantization sets, in order of appearance."""
    return [name for name in dict.fromkeys(table["set"]) if name] or [""]


def settings_of(table: pd.DataFrame) -> list[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """Each dataset, model and regime, with its rows."""
    return list(table.groupby(list(SETTING), sort=False))


def setting_name(key: Sequence[Hashable]) -> str:
    """Dataset, model and regime for people."""
    return " · ".join(map(str, key))


def variant(row: Any, columns: Sequence[str]) -> str:
    """A method's name with the values of a sweep's further axes."""
    others = [
        f"{column.removeprefix('axis.')}={value}" for column in columns if (value := row[column])
    ]
    return " ".join([row["method"], *others])


def panels(rows: int, columns: int, **options: Any) -> tuple[Figure, NDArray[Any]]:
    """A figure with a grid of panels, always an array of (rows, columns)."""
    figure = Figure(
        figsize=(PANEL_WIDTH * columns + 0.6, PANEL_HEIGHT * rows + 0.5), layout="constrained"
    )
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **options))


def shared_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend above all panels, with every label once."""
    handles = {
        label: handle
        for each in axes
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True)
    }
    if handles:
        widest = _HANDLE_WIDTH + _LETTER_WIDTH * max(map(len, handles))
        columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
        lines = -(-len(handles) // columns)
        # A legend of many lines takes no room from the panels.
        figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * max(0, lines - _FREE_LINES))
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper center",
            ncols=columns,
            frameon=False,
            columnspacing=1.2,
        )


def labels_that_fit(values: Sequence[float], labels: Sequence[str]) -> list[str]:
    """Labels of ticks on a logarithmic axis, empty where they would touch the one before.

    Args:
        values: > 0, in rising order.
        labels: of the values.
    """
    span = math.log(values[-1] / values[0])
    fitting, last = [], -math.inf
    for value, label in zip(values, labels, strict=True):
        place = math.log(value / values[0]) / span if span else 0.0
        fits = place - last >= _ROOM
        fitting.append(label if fits else "")
        last = place if fits else last
    return fitting


_ROOM = 0.15
"""Share of a panel's width that a tick's label needs."""
