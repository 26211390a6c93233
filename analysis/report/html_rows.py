"""Rows of HTML tables. A report has a hundred thousand cells, for which a template is too slow."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from analysis.text import plain

_BETWEEN = "\0"


def escaped(texts: Iterable[str]) -> list[str]:
    """Texts as HTML. All of them are escaped at once.

    Args:
        texts: cells of a column.
    """
    cells = list(texts)
    whole = _BETWEEN.join(cells)
    if whole.count(_BETWEEN) >= len(cells):  # a cell has this character
        whole = _BETWEEN.join(map(plain, cells))
    return str(escape(whole)).split(_BETWEEN) if cells else []


def html_rows(columns: Sequence[Sequence[str]], kinds: Sequence[str | Sequence[str]]) -> Markup:
    """The rows of a table, one to a line.

    Args:
        columns: the cells of each column, as HTML.
        kinds: the CSS classes of each column, or of each of its cells.
    """
    cells = [
        [f'<td class="{kind}">{cell}</td>' for cell in column]
        if isinstance(kind, str)
        else [f'<td class="{of}">{cell}</td>' for of, cell in zip(kind, column, strict=True)]
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return Markup("\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True)))
