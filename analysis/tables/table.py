"""Table: finished text in rows and columns, for people."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass

import pandas as pd

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.statistics.aggregate import SETTING


@dataclass(frozen=True)
class Table:
    """A table of finished text."""

    name: str
    """For files: letters, digits and underscores."""
    section: str
    """Heading under which a report has it."""
    caption: str
    body: pd.DataFrame
    """Columns of strings; a number in ``**`` at the start of a cell is bold, see `bold`."""

    def markdown(self) -> str:
        """The caption and a pipe table."""
        cells = self.body.map(lambda text: _markdown(str(text)))
        cells.columns = [_markdown(str(column)) for column in cells.columns]
        return f"**{self.caption}**\n\n{cells.to_markdown(index=False, disable_numparse=True)}\n"


def bold(cell: str) -> tuple[str, str]:
    """What of a cell is bold, and the rest: ``**94.00 (1.41)** at 1e-2``; names never are."""
    if match := _BOLD.fullmatch(cell):
        return match[1], match[2]
    return "", cell


_BOLD = re.compile(r"\*\*(\d[^*]*)\*\*(.*)", re.DOTALL)


def _markdown(cell: str) -> str:
    """A cell that is shown as it is written: no emphasis, mathematics, tags or links of its own."""
    first, rest = bold(cell)
    rest = re.sub(r"([\\|*`$~]|<(?=[\w/!?])|\](?=\())", r"\\\1", rest)
    return f"**{first}**{rest}" if first else rest


def axis_label(column: str, others: Container[str]) -> str:
    """The header of a further axis: its name, with a word before it where that is taken."""
    name = column.removeprefix(AXIS_PREFIX)
    return f"axis {name}" if name in others else name


Format = Callable[[pd.Series], str]
Columns = dict[str, str | Format]
"""Header -> column of a frame, or a function of its row."""

WHERE: Columns = {key: key for key in SETTING}
FAMILY: Columns = {**WHERE, "set": "set", "method": "method"}


def build(name: str, section: str, caption: str, frame: pd.DataFrame, columns: Columns) -> Table:
    """A table with the given columns, and those of further axes behind the set or the regime."""
    wanted: Columns = {}
    after = "set" if "set" in columns else "regime"
    for header, source in columns.items():
        wanted[header] = source
        if header == after:
            wanted |= {axis_label(axis, columns): axis for axis in axis_columns(frame)}
    body = pd.DataFrame(
        [
            {
                header: row[source] if isinstance(source, str) else source(row)
                for header, source in wanted.items()
            }
            for _, row in frame.iterrows()
        ],
        columns=list(wanted),
    )
    for key in ("dataset", "regime"):  # said once, where it is the same in all rows
        if key in body and len(body) > 1 and body[key].nunique() == 1:
            caption += f"; {body[key].iloc[0]}"
            body = body.drop(columns=key)
    return Table(name, section, caption, body.astype(str))


def of(column: str, form: Callable[..., str], **options: bool) -> Format:
    """How a column of numbers is written."""
    return lambda row: form(row[column], **options)
