"""Tables that fit the width of a terminal without cutting a number."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST_WORD = 24
"""Words of text with more letters may be continued on the next line."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    header: str
    cells: Sequence[Text]
    """A cell for each row; a line break in it starts another line of the row."""
    is_text: bool = False
    """Whether the column has text, which is aligned to the left and may take several lines. Columns
    of numbers are aligned to the right, and no line of a cell is broken."""

    @property
    def lines(self) -> list[Text]:
        """The header, and the lines of all cells."""
        return [Text(self.header), *(line for cell in self.cells for line in cell.split("\n"))]

    @property
    def widest(self) -> int:
        """The width in letters at which no line is broken."""
        return max(line.cell_len for line in self.lines)

    @property
    def narrowest(self) -> int:
        """The smallest width in letters at which no number and no word is broken."""
        if not self.is_text:
            return self.widest
        words = (Text(word).cell_len for line in self.lines for word in line.plain.split())
        return min(LONGEST_WORD, max(words, default=0))


def fitted(columns: Sequence[Column], width: int) -> list[Table]:
    """Arrange columns as one table or, if they are too wide, as several that follow each other.

    Each of these has the leading columns of text, which say what a row is, and as many of the other
    columns as fit. A table with a single number may be wider than the terminal.

    Args:
        columns: the columns, each with as many cells.
        width: letters of a line.
    """
    labels = list(takewhile(lambda column: column.is_text, columns))
    parts, part = [], list(labels)
    for column in columns[len(labels) :]:
        is_begun = len(part) > len(labels)
        if is_begun and _narrowest([*part, column]) > width:
            parts.append(part)
            part = list(labels)
        part.append(column)
    return [_table(each, width) for each in (*parts, part)]


def as_text(tables: Iterable[Table], width: int) -> str:
    """Return tables as plain text, with an empty line between two.

    Args:
        tables: tables of `fitted`.
        width: letters of a line.
    """
    texts = []
    for table in tables:
        console = Console(width=max(width, width_of(table)), file=io.StringIO(), color_system=None)
        with console.capture() as captured:
            console.print(table)
        texts.append("\n".join(line.rstrip() for line in captured.get().splitlines()))
    return "\n\n".join(texts)


def _narrowest(columns: Sequence[Column]) -> int:
    """Return the smallest width of a table, with two letters between its columns."""
    return sum(column.narrowest for column in columns) + 2 * (len(columns) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column; wide columns of text become equally narrow."""
    least, natural = [c.narrowest for c in columns], [c.widest for c in columns]
    for most in range(max(natural), 0, -1):
        widths = [min(wide, max(most, small)) for wide, small in zip(natural, least, strict=True)]
        if sum(widths) + 2 * (len(columns) - 1) <= width:
            return widths
    return least


def _table(columns: Sequence[Column], width: int) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column, own in zip(columns, _widths(columns, width), strict=True):
        table.add_column(
            Text(column.header),  # a name may look like markup
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
            width=own,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def width_of(table: Table) -> int:
    """Return the letters of a line of a table of `fitted`."""
    return sum(column.width or 0 for column in table.columns) + 2 * (len(table.columns) - 1)
