"""Names that people gave, made fit to be shown: in figures, tables, a terminal, and on a page.

A method may be called anything. What is shown has no letters that cannot be drawn, written or
encoded, and a length that leaves room for the numbers; names that differ are still told apart.
"""

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from analysis.schema import AXIS_PREFIX
from analysis.text import brief, plain

LONGEST = 80
"""Letters of a name in tables and on a page."""

_COLUMNS = ("sweep", "name", "dataset", "model", "regime", "method", "set", "row", "column")
"""Columns of names, beside those of axes."""


def shown(
    names: Iterable[str], longest: int = LONGEST, write: Callable[[str], str] = plain
) -> dict[str, str]:
    """Name -> what is shown for it; those that would look alike get a number.

    Args:
        names: in the order in which they are numbered.
        longest: letters that are left of a name.
        write: makes a name fit to be shown, but for its length.
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
    """Every name in a table."""
    return (name for column in _columns(frame) for name in dict.fromkeys(frame[column]))


def renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The table with other names; itself if none of its names changes."""
    columns = [
        column
        for column in _columns(frame)
        if any(names.get(name, name) != name for name in set(frame[column]))
    ]
    if not columns:
        return frame
    return frame.assign(
        **{column: [names.get(name, name) for name in frame[column]] for column in columns}
    )


def _columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name in _COLUMNS or name.startswith(AXIS_PREFIX)]
