"""HTML pages: everything of a report in one file, to be read on any screen."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.figures.drawn import Drawn
from analysis.tables.table import Table, bold

_LONG = 40
_PIXELS_AN_INCH = 112
"""Figures are made for print; on a screen their letters must be somewhat larger."""


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
    """A page's text.

    Args:
        template: in this folder; it extends ``page.html.j2``.
        title: heading.
        facts: lines of the head.
        tables: stand in their sections, below the figures.
        drawn: stand in their sections.
        last: the section that comes last.
        without: sections that the template shows in its own way.
        values: what else the template uses.
    """
    environment = Environment(
        loader=PackageLoader("analysis.report", "."),
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
                "caption": table.caption,
                "rows": _rows(table),
                "kinds": [_kind(table.body.iloc[:, place]) for place in range(table.body.shape[1])],
            }
        )
    for item in drawn:
        of = sections.setdefault(item.section, {"figures": [], "tables": []})
        # An SVG element without the XML head that a file has.
        svg = Markup(item.svg[item.svg.index("<svg") :])
        width = round(_PIXELS_AN_INCH * item.figure.get_figwidth())
        of["figures"].append({"svg": svg, "caption": item.caption, "width": width})
    if last in sections:
        sections[last] = sections.pop(last)
    return environment.get_template(template).render(
        title=title, facts=facts, sections=sections, **values
    )


def _kind(cells: pd.Series) -> str:
    """How a column is set: numbers to the right, text to the left, long text in lines."""
    if cells.str.len().max() > _LONG:
        return "long"
    plain = cells[cells != ""].str.replace(r"\*\*|^< ", "", regex=True)
    return "number" if plain.str.match(r"[-+]?\d").all() else "text"


def _rows(table: Table) -> list[list[Markup]]:
    """Header and cells, with ``**`` turned into bold type."""

    def cell(text: str) -> Markup:
        first, rest = bold(text)
        return Markup("<b>{}</b>{}").format(first, rest) if first else escape(rest)

    body = table.body
    return [
        [escape(column) for column in body.columns],
        *([cell(str(value)) for value in row] for row in body.itertuples(index=False)),
    ]
