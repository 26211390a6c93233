"""HTML pages: a whole report in one file without external resources."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.figures.drawn import Drawn
from analysis.report.html_rows import escaped, html_rows
from analysis.tables.table import Mark, Table, first_sentence, marked

_COMMITS = ("trials ran at", "analysed at")
"""Facts that name commits; those of code with uncommitted changes end in a plus sign."""
_LONG = 40
_PIXELS_AN_INCH = 112
"""Pixels for an inch of a figure; on screens, figures are shown larger than in print."""


def render_page(
    template: str,
    *,
    title: str,
    facts: Mapping[str, str],
    tables: Sequence[Table],
    drawn: Sequence[Drawn],
    last: str = "",
    without: Container[str] = (),
    **values: Any,
) -> str:
    """Render an HTML page.

    Args:
        template: file name of a template in this folder that extends ``page.html.j2``.
        title: heading of the page.
        facts: name -> text; lines at the top of the page.
        tables: shown in their sections, below the figures.
        drawn: figures, shown in their sections.
        last: name of the section that comes last.
        without: names of sections that the template itself shows.
        values: further variables of the template.

    Returns:
        The text of the HTML file.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("analysis.report", "."), PackageLoader("analysis.interactive", ".")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections: dict[str, dict[str, list[object]]] = {}
    for table in tables:
        if table.section in without:
            continue
        of = sections.setdefault(table.section, {"figures": [], "tables": []})
        of["tables"].append(
            {
                "name": table.name,
                "caption": first_sentence(table.caption),
                **_cells(table),
            }
        )
    for item in drawn:
        of = sections.setdefault(item.section, {"figures": [], "tables": []})
        svg = Markup(item.inline_svg)
        width = round(_PIXELS_AN_INCH * item.figure.get_figwidth())
        of["figures"].append(
            {
                "name": item.name,
                "svg": svg,
                "caption": first_sentence(item.caption),
                "width": width,
            }
        )
    if last in sections:
        sections[last] = sections.pop(last)
    return environment.get_template(template).render(
        title=title,
        facts={
            name: _with_plus(fact) if name in _COMMITS else fact for name, fact in facts.items()
        },
        sections=sections,
        **values,
    )


def _with_plus(commits: str) -> str:
    """Names of commits, with an explanation of the plus sign if one has it."""
    return f"{commits} (+: with uncommitted changes)" if "+" in commits else commits


def _cells(table: Table) -> dict[str, Any]:
    """The header, the number of rows, the kinds of the columns, and the rows as HTML."""
    body = table.body
    columns = [list(map(str, body.iloc[:, place].tolist())) for place in range(body.shape[1])]
    kinds = [_kind(column) for column in columns]
    return {
        "head": list(map(str, body.columns)),
        "num_rows": len(body),
        "kinds": kinds,
        "body": html_rows([_with_marks(column) for column in columns], kinds),
    }


def _kind(cells: Sequence[str]) -> str:
    """CSS class of a column: ``number`` (right), ``text`` (left) or ``long`` (left, wrapped)."""
    if max(map(len, cells), default=0) > _LONG:
        return "long"
    is_number = all(_NUMBER.match(_MARKS.sub("", cell)) for cell in cells if cell)
    return "number" if is_number else "text"


_MARKS = re.compile(r"\*\*|__|^< ")
_NUMBER = re.compile(r"[-+]?\d")


def _with_marks(cells: Sequence[str]) -> list[str]:
    """Cells as HTML, with bold numbers in ``<b>`` and underlined ones in ``<u>``."""
    found = escaped(cells)
    for place, cell in enumerate(cells):
        if cell.startswith(_MARKED):
            mark, number, rest = marked(cell)
            if mark is not Mark.NONE:
                element = "b" if mark is Mark.BOLD else "u"
                found[place] = f"<{element}>{escape(number)}</{element}>{escape(rest)}"
    return found


_MARKED = (Mark.BOLD.value, Mark.UNDERLINED.value)
