"""The columns that tables have in LaTeX, where a page is narrower than a screen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.tables.table import Table


class UnknownColumnError(ValueError):
    """A table or a column that was chosen is not there; the message lists those that are."""


@dataclass(frozen=True)
class LatexOptions:
    """Options of the LaTeX files of a report."""

    name: str = ""
    """What labels and files of figures begin with, so that those of several reports differ."""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name of a table -> headers of the columns that it has in LaTeX, in this order."""


def with_columns(tables: Iterable[Table], columns: Mapping[str, Sequence[str]]) -> list[Table]:
    """Choose the columns of tables.

    A table for which none are chosen has its columns without those that are empty, and without the
    model if all rows have the same, which the caption then names.

    Args:
        tables: the tables of a report.
        columns: see `LatexOptions`. Headers need no unit, and ``rho0`` means ρ0.

    Raises:
        UnknownColumnError: there is no such table or column.
    """
    tables = list(tables)
    names = [table.name for table in tables]
    if unknown := [name for name in columns if name not in names]:
        raise UnknownColumnError(
            f"there is no table {unknown[0]!r}; the tables are {', '.join(names)}"
        )
    return [
        _chosen(table, columns[table.name]) if table.name in columns else _shortened(table)
        for table in tables
    ]


def _chosen(table: Table, wanted: Sequence[str]) -> Table:
    known = {_folded(header): header for header in reversed(table.body.columns)}
    if unknown := [name for name in wanted if _folded(name) not in known]:
        raise UnknownColumnError(
            f"table {table.name!r} has no column {unknown[0]!r}; its columns are "
            f"{', '.join(table.body.columns)}"
        )
    return replace(table, body=table.body[[known[_folded(name)] for name in wanted]])


def _folded(header: str) -> str:
    """Return a header without its unit, as it can be typed."""
    return header.replace("ρ", "rho").removesuffix("%").strip().casefold()


def _shortened(table: Table) -> Table:
    body, caption = table.body, table.caption
    empty = [name for name in body.columns if not any(map(str, body[name].tolist()))]
    body = body.drop(columns=empty)
    if "model" in body and len(body) > 1 and body["model"].nunique() == 1:
        caption += f" Network: {body['model'].iloc[0]}."
        body = body.drop(columns="model")
    return replace(table, body=body, caption=caption)
