"""Labels: names of methods, sets and other things, in a form that every output can show.

A method may have any name. Its label has no characters that cannot be drawn, written or encoded,
and is short enough for a table; different names have different labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import AXIS_PREFIX
from analysis.text import brief, plain

LONGEST = 80
"""Letters of a label in tables and on a page."""

_COLUMNS = ("sweep", "name", "dataset", "model", "regime", "method", "set", "row", "column")
"""Columns that hold names; those of further axes do, too."""


def labels_of(
    names: Iterable[str], longest: int = LONGEST, write: Callable[[str], str] = plain
) -> dict[str, str]:
    """The label of each name; equal labels of different names get a number.

    Args:
        names: in the order in which equal labels are numbered.
        longest: number of letters to which a label is cut.
        write: turns a name into a label of any length.

    Returns:
        Name -> label.
    """
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        text = write(name)
        own = brief(text, longest)
        number = 1
        while own in taken:
            number += 1
            ending = f"… ({number})"
            own = text[: longest - len(ending)] + ending
        taken.add(own)
        result[name] = own
    return result


def names_of(frame: pd.DataFrame) -> Iterable[str]:
    """Every name in a table of trials, maps or importance, with repetitions."""
    return (name for column in _columns(frame) for name in frame[column].unique())


def renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The table with its names replaced; the same object if no name changes.

    Args:
        frame: a table of trials, maps or importance.
        names: name -> label; a name that is not in it stays.
    """
    columns = [
        column
        for column in _columns(frame)
        if any(names.get(name, name) != name for name in frame[column].unique())
    ]
    if not columns:
        return frame
    return frame.assign(
        **{column: [names.get(name, name) for name in frame[column].tolist()] for column in columns}
    )


def variant(row: Any, columns: Sequence[str]) -> str:
    """A method's name with the values of further axes: ``PC lr=0.1``.

    Args:
        row: with `method` and the given columns.
        columns: columns of further axes.
    """
    others = [
        f"{column.removeprefix(AXIS_PREFIX)}={value}"
        for column in columns
        if (value := row[column])
    ]
    return " ".join([row["method"], *others])


def _columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name in _COLUMNS or name.startswith(AXIS_PREFIX)]
