"""HTML pages: a whole report in one file without external resources."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.figures.drawn import Drawn
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
                "rows": _rows(table),
                "kinds": [_kind(table.body.iloc[:, place]) for place in range(table.body.shape[1])],
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


def _kind(cells: pd.Series) -> str:
    """CSS class of a column: ``number`` (right), ``text`` (left) or ``long`` (left, wrapped)."""
    if cells.str.len().max() > _LONG:
        return "long"
    plain = cells[cells != ""].str.replace(r"\*\*|__|^< ", "", regex=True)
    return "number" if plain.str.match(r"[-+]?\d").all() else "text"


def _rows(table: Table) -> list[list[Markup]]:
    """Header and cells as HTML, with bold numbers in ``<b>`` and underlined ones in ``<u>``."""

    def cell(text: str) -> Markup:
        mark, number, rest = marked(text)
        if mark is Mark.NONE:
            return escape(rest)
        element = "b" if mark is Mark.BOLD else "u"
        return Markup(f"<{element}>{{}}</{element}>{{}}").format(number, rest)

    body = table.body
    return [
        [escape(column) for column in body.columns],
        *([cell(str(value)) for value in row] for row in body.itertuples(index=False)),
    ]
