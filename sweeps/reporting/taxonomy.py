"""Tables of the properties of methods, and Table 1 of the ProxConnect paper beside them."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.tables.table import Table
from quantlab import ConfigurationError
from quantlab.canonical import canonical_key
from quantlab.papers.taxonomy import TABLE_1, TaxonomyRow
from quantlab.taxonomy import Properties, Trend, properties_of
from sweeps.coordinates import level_set
from sweeps.spec import Cell

SECTION = "Taxonomy"
_YES, _NO = "✓", "✗"
_PIECEWISE = "L_ρ^ϱ: ρ, ϱ"


def properties_table(name: str, cells: Sequence[Cell]) -> Table:
    """Return the properties of the methods of a sweep.

    A method has several rows if its properties depend on the set or on another axis.

    Args:
        name: name of the sweep.
        cells: its cells, of which those in full precision are left out.

    Raises:
        ConfigurationError: if all cells are in full precision, or if a map cannot be used.
    """
    known: dict[str, Properties] = {}
    kinds: dict[tuple[str, Properties], list[Cell]] = {}
    for cell in cells:
        quantization = cell.recipe.quantization
        if quantization is None:
            continue
        key = canonical_key([quantization, cell.recipe.epochs])
        if key not in known:
            known[key] = properties_of(cell.recipe)
        kinds.setdefault((cell.method, known[key]), []).append(cell)
    if not kinds:
        raise ConfigurationError(
            f"{name}: has no quantized trials; must have at least one method to describe"
        )
    body = pd.DataFrame(
        [
            {
                "method": method,
                "set": ", ".join(dict.fromkeys(map(level_set, own))),
                "where": _where(own, [one for (of, _), one in kinds.items() if of == method]),
                "PC": _mark(properties.prox_connect),
                "passes": str(properties.passes),
                "levels": properties.levels.value,
                "monotone": _mark(properties.is_monotone),
                _PIECEWISE: _shifts(properties.rho, properties.varrho),
            }
            for (method, properties), own in kinds.items()
        ]
    )
    if not body["where"].any():
        body = body.drop(columns="where")
    caption = (
        f"Properties of the methods of {name}. PC: every step is that of ProxConnect. Passes: "
        "evaluations of the network per step. Monotone: the map never decreases, as every proximal "
        f"map. {_PIECEWISE}: how the shifts of L change during training (↗ they grow; 0 there are "
        "none; ∞ the map is the projector), ✗ for another map."
    )
    return Table("taxonomy", SECTION, caption, body)


def _where(own: Sequence[Cell], all_kinds: Sequence[Sequence[Cell]]) -> str:
    """Return the values of further axes that tell a kind of a method from its others."""
    axes = [name for name in own[0].coordinates if name not in ("set", "method")]
    values = {name: [_labels(cells, name) for cells in all_kinds] for name in axes}
    return "; ".join(
        f"{name}={', '.join(_labels(own, name))}"
        for name in axes
        if any(labels != _labels(own, name) for labels in values[name])
    )


def _labels(cells: Sequence[Cell], axis: str) -> list[str]:
    return list(dict.fromkeys(cell.coordinates.get(axis, "") for cell in cells))


def published_table() -> tuple[Table, list[str]]:
    """Return Table 1 of the ProxConnect paper as found here, and a line for each difference."""
    rows, lines = [], []
    for row in TABLE_1:
        found = row.found(row.properties())
        published = {name: getattr(row, name) for name in found}
        rows.append(
            {"paper": row.name, "here": row.method}
            | {
                column: _beside(here, theirs)
                for (column, here), theirs in zip(
                    _cells(found).items(), _cells(published).values(), strict=True
                )
            }
        )
        lines += list(_reasons(row))
    caption = (
        "Table 1 of the ProxConnect paper, as the methods here have it. Where the paper has "
        "another value, it follows in brackets."
    )
    return Table("taxonomy_published", SECTION, caption, pd.DataFrame(rows)), lines


def _cells(values: dict[str, object]) -> dict[str, str]:
    """Return the columns of Table 1."""
    rho, varrho = values["rho"], values["varrho"]
    assert rho is None or isinstance(rho, Trend)
    assert varrho is None or isinstance(varrho, Trend)
    is_case = values["prox_connect"]
    return {
        "PC": "-" if is_case is None else _mark(bool(is_case)),
        "one pass": _mark(bool(values["one_pass"])),
        "learnable": _mark(bool(values["learned"])),
        _PIECEWISE: _shifts(rho, varrho),
    }


def _reasons(row: TaxonomyRow) -> Iterator[str]:
    """Yield why a row differs, each reason once."""
    yield from dict.fromkeys(f"{row.name}: {reason}" for reason in row.reasons.values())


def _beside(here: str, theirs: str) -> str:
    return here if here == theirs else f"{here} ({theirs})"


def _mark(value: bool) -> str:
    return _YES if value else _NO


def _shifts(rho: Trend | None, varrho: Trend | None) -> str:
    return _NO if rho is None or varrho is None else f"{rho.value}, {varrho.value}"
