"""Tables in the terminal."""

import re

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from analysis.tables import Table


def render(table: Table) -> RichTable:
    """A table for `rich` to print, with ``**`` turned into bold type.

    Its caption is left to the caller. A cell's rho0 goes to a second line, so that four methods
    side by side fit into 80 columns.
    """
    rendered = RichTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for position, column in enumerate(table.body.columns):
        rendered.add_column(str(column), justify="left" if position < 2 else "right", no_wrap=True)
    for row in table.body.itertuples(index=False):
        rendered.add_row(*(_text(str(cell).replace(" at ", "\nat ")) for cell in row))
    return rendered


def _text(cell: str) -> Text:
    text = Text()
    for position, part in enumerate(re.split(r"\*\*", cell)):
        text.append(part, style="bold" if position % 2 else "")
    return text
