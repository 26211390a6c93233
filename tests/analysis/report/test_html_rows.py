"""Rows of HTML tables, which are made without a template."""

from jinja2 import Environment
from markupsafe import escape

from analysis.report.html_rows import escaped, html_rows

CELLS = ["<b>", "a & b", "", 'say "yes"', "it's", "ρ0\nnext"]


def test_cells_are_escaped_as_each_alone() -> None:
    assert escaped(CELLS) == [str(escape(cell)) for cell in CELLS]
    assert escaped([]) == []
    assert escaped(["a\0b", "<"]) == ["a[U+0000]b", "&lt;"]


def test_rows_are_those_of_a_template() -> None:
    kinds = ["text", [f"number k{place}" for place in range(len(CELLS))]]
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        "{% for a, b in rows %}\n"
        '<tr><td class="text">{{ a }}</td><td class="number k{{ loop.index0 }}">{{ b }}</td></tr>\n'
        "{% endfor %}"
    )
    others = list(map(str, range(len(CELLS))))
    expected = template.render(rows=zip(CELLS, others, strict=True))
    assert f"{html_rows([escaped(CELLS), others], kinds)}\n" == expected
