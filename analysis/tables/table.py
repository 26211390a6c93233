"""Table: formatted text in rows and columns, with a caption."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from unicodedata import combining, east_asian_width

import pandas as pd

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.rounding import rho0_labels
from analysis.statistics.aggregate import SETTING


@dataclass(frozen=True)
class Table:
    """A table of formatted text."""

    name: str
    """Name of its files: letters, digits and underscores."""
    section: str
    """Heading of the section of a report that shows it."""
    caption: str
    """Sentences, of which the first names the content."""
    body: pd.DataFrame
    """Columns of strings; a number at the start of a cell may be bold or underlined, see
    `marked`."""
    mark_note: str = ""
    """The part of the caption that explains bold and underlined numbers."""

    def markdown(self) -> str:
        """The caption, with its first sentence in bold, and a pipe table."""
        columns = [
            _markdown_cells(list(map(str, self.body.iloc[:, place].tolist())))
            for place in range(self.body.shape[1])
        ]
        heads = [_markdown(str(column)) for column in self.body.columns]
        title, rest = map(markdown_text, first_sentence(self.caption))
        caption = f"**{title}** {rest}".rstrip()
        return f"{caption}\n\n{_pipe_table(heads, columns)}\n"


def first_sentence(caption: str) -> tuple[str, str]:
    """A caption's first sentence, and the others."""
    title, stop, rest = caption.partition(". ")
    return (f"{title}.", rest) if stop else (caption, "")


class Mark(Enum):
    """How a number at the start of a cell is marked; the value stands before and after it."""

    BOLD = "**"
    UNDERLINED = "__"
    NONE = ""


def marked(cell: str) -> tuple[Mark, str, str]:
    """The mark of the number at the start of a cell, the number, and the rest.

    It is bold in ``**94.00 (1.41)** at 1e-2`` and underlined in ``__94.00 (1.41)__ at 1e-2``. Names
    are never marked, whatever they contain: then the rest is the whole cell.
    """
    if match := _MARKED.fullmatch(cell):
        return Mark(match[1]), match[2], match[3]
    return Mark.NONE, "", cell


_MARKED = re.compile(r"(\*\*|__)(-?\d[^*_]*)\1(.*)", re.DOTALL)


def _markdown_cells(cells: list[str]) -> list[str]:
    """The cells of a column with all Markdown escaped. Most columns have none."""
    return list(map(_markdown, cells)) if _MAY_CHANGE.search("\n".join(cells)) else cells


def _pipe_table(heads: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """A table of Markdown whose columns are aligned in plain text, too."""
    padded = []
    for head, column in zip(heads, columns, strict=True):
        cells = [cell.strip() for cell in (head, *column)]
        widths = _widths(cells)
        width = max(widths[0] + _ROOM, *widths)
        first, *others = (
            f" {cell}{' ' * (width - own)} " for cell, own in zip(cells, widths, strict=True)
        )
        padded.append([first, f":{'-' * (width + 1)}", *others])
    return "\n".join(f"|{'|'.join(row)}|" for row in zip(*padded, strict=True))


_ROOM = 2
"""Spaces that follow a header at least."""


def _widths(texts: Sequence[str]) -> list[int]:
    """Columns of a terminal that each text takes."""
    width = {
        letter: 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1
        for letter in set("".join(texts))
        if not letter.isascii()
    }
    unusual = {letter: own - 1 for letter, own in width.items() if own != 1}
    if not unusual:
        return list(map(len, texts))
    return [len(text) + sum(unusual.get(letter, 0) for letter in text) for text in texts]


_MARKUP = re.compile(
    r"[\\|*`$~]|<(?=[\w/!?])|\](?=\()|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])", re.ASCII
)
"""What Markdown may read as markup: of underscores, all but those within a word."""
_MAY_CHANGE = re.compile(r"[\\|*`$~<\]&_]")
"""What every cell has that `_markdown` changes."""


def markdown_text(text: str) -> str:
    """A text on one line with all Markdown escaped."""
    return _MARKUP.sub(r"\\\g<0>", text)


def _markdown(cell: str) -> str:
    """A cell with all Markdown escaped, except for the mark of a number at its start."""
    mark, number, rest = marked(cell)
    before, after = {
        Mark.BOLD: ("**", "**"),
        Mark.UNDERLINED: ("<ins>", "</ins>"),
        Mark.NONE: ("", ""),
    }[mark]
    return f"{before}{number}{after}{markdown_text(rest)}"


def axis_labels(columns: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """The headers of further axes: their names, or ``axis NAME`` if another column has that header.

    Args:
        columns: names of the axes' columns.
        others: headers of the other columns.

    Returns:
        Column -> header.
    """
    columns = list(columns)
    names = [column.removeprefix(AXIS_PREFIX) for column in columns]
    return dict(zip(columns, headers_apart(names, others, "axis"), strict=True))


def headers_apart(names: Iterable[str], others: Iterable[str], kind: str) -> list[str]:
    """Headers that differ from each other and from those of other columns.

    Args:
        names: what the headers are, unless another column has the same: then ``KIND NAME`` and, if
            that is not enough, a number.
        others: headers of the other columns.
        kind: what the names are of, such as ``method``.
    """
    taken, found = set(others), []
    for name in names:
        own = header = f"{kind} {name}" if name in taken else name
        number = 1
        while header in taken:
            number += 1
            header = f"{own} ({number})"
        taken.add(header)
        found.append(header)
    return found


Format = Callable[[Any], str]
"""A function of a row: a mapping from the columns of a table of findings to their values."""
Columns = dict[str, str | Format]
"""Header -> column of a table of findings, or a function that formats its row."""

WHERE: Columns = {key: key for key in SETTING}
FAMILY: Columns = {**WHERE, "set": "set", "method": "method"}


def build(name: str, section: str, caption: str, frame: pd.DataFrame, columns: Columns) -> Table:
    """Format a table; the columns of further axes follow the set or, without one, the regime.

    A dataset or regime that is the same in all rows is moved to the caption.

    Args:
        name: see `Table`.
        section: see `Table`.
        caption: see `Table`.
        frame: table of findings.
        columns: the columns of the formatted table, in their order.
    """
    wanted: Columns = {}
    after = "set" if "set" in columns else "regime"
    for header, source in columns.items():
        wanted[header] = source
        if header == after:
            labels = axis_labels(axis_columns(frame), columns)
            wanted |= {label: axis for axis, label in labels.items()}
    body = pd.DataFrame(
        [
            {
                header: row[source] if isinstance(source, str) else source(row)
                for header, source in wanted.items()
            }
            for row in frame.to_dict("records")
        ],
        columns=list(wanted),
    )
    for key in ("dataset", "regime"):
        if key in body and len(body) > 1 and body[key].nunique() == 1:
            caption += f" {key.capitalize()}: {body[key].iloc[0]}."
            body = body.drop(columns=key)
    return Table(name, section, caption, body.astype(str))


def failures(row: Mapping[str, Any]) -> str:
    """A format of the trials without a usable result, such as ``2 diverged, 1 missing``."""
    kinds = ("diverged", "collapsed", "missing")
    return ", ".join(f"{row[kind]:.0f} {kind}" for kind in kinds if row[kind] > 0)


def rho0_of(rows: pd.DataFrame, column: str = "rho0") -> Format:
    """A format of the rho0 in a column; different ones have different labels.

    Args:
        rows: has all rho0 that a reader may compare in its column `rho0`, if it has rows.
        column: name in the table of findings.
    """
    labels = rho0_labels(rows.get("rho0", ()))
    return lambda row: labels.get(row[column], "")


def of(column: str, form: Callable[..., str], **options: bool) -> Format:
    """A format that applies `form` to the number in a column.

    Args:
        column: name in the table of findings.
        form: a function of `analysis.rounding`.
        options: keyword arguments of `form`.
    """
    return lambda row: form(row[column], **options)
