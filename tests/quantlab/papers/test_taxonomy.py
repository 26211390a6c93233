"""Table 1 of the ProxConnect paper, typed from the paper again, and what the methods here are."""

import pytest

from quantlab.papers.taxonomy import TABLE_1, TaxonomyRow
from quantlab.taxonomy import LevelsFrom, Properties, Trend

TICKS = {"✓": True, "✗": False, "-": None}
PAPER = """
ProxQuant-Binary-L1 | ✗ | ✓ | ✗ | ✓ | ↗, ↗
ProxQuant-Ternary   | ✗ | ✗ | ✗ | ✗ | -
BinaryConnect       | ✓ | ✓ | ✗ | ✓ | ∞, ∞
BinaryRelax         | ✓ | ✓ | ✗ | ✓ | 0, ↗
BinaryWeight        | ✓ | ✓ | ✓ | ✗ | -
MirrorDescentView   | ✓ | ✓ | ✗ | ✗ | -
TrainedTernary      | ✓ | ✓ | ✓ | ✓ | ∞, ∞
TernaryWeight       | ✓ | ✓ | ✓ | ✗ | -
ProxConnect (ours)  | - | ✓ | ✓ | ✓ | ↗, ↗
"""
"""Method, PC, one pass, learnable parameters, L, and the shifts."""


def test_the_rows_are_those_of_the_paper() -> None:
    lines = [[cell.strip() for cell in line.split("|")] for line in PAPER.strip().splitlines()]
    assert [row.name for row in TABLE_1] == [name for name, *_ in lines]
    for row, (_, prox_connect, one_pass, learned, is_l, shifts) in zip(TABLE_1, lines, strict=True):
        assert row.prox_connect is TICKS[prox_connect]
        assert row.one_pass is TICKS[one_pass]
        assert row.learned is TICKS[learned]
        assert (row.rho is not None) is TICKS[is_l]
        written = (
            None
            if row.rho is None or row.varrho is None
            else f"{row.rho.value}, {row.varrho.value}"
        )
        assert (written or "-") == shifts


@pytest.fixture(scope="module")
def properties() -> dict[str, Properties]:
    return {row.method: row.properties() for row in TABLE_1}


@pytest.mark.parametrize("row", TABLE_1, ids=lambda row: row.name)
def test_a_method_differs_from_its_row_only_where_a_reason_is_given(
    row: TaxonomyRow, properties: dict[str, Properties]
) -> None:
    found = row.found(properties[row.method])
    print(row.name, found)
    published = {name: getattr(row, name) for name in found}
    assert {name for name in found if found[name] != published[name]} == set(row.reasons)


def test_the_reasons_hold(properties: dict[str, Properties]) -> None:
    rows = properties
    # Table 1 has a tick for TWN's levels and none for those of ProxQuant-Ternary.
    assert rows["PQ-Ternary"].levels is rows["TWN"].levels is LevelsFrom.WEIGHTS
    assert rows["PQ-Ternary"].passes == rows["TWN"].passes == 1
    assert rows["TTQ"].levels is LevelsFrom.TRAINING
    assert not rows["TTQ"].is_elementwise  # its thresholds
    assert rows["PC"].levels is LevelsFrom.RECIPE
    # "Special case of ProxConnect" is about the step. This map is not proximal.
    assert rows["TWN"].prox_connect
    assert not rows["TWN"].is_monotone
    assert rows["BWN"].is_monotone
    assert rows["PC"].rho is Trend.INCREASING
