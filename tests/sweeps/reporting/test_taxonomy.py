"""The tables that `sweeps taxonomy` prints."""

import re
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.cli import main
from sweeps.loading import load_sweep
from sweeps.reporting.taxonomy import properties_table
from tests.sweeps.sweep_files import TINY

KEPT = (None, "0.001", "0.06", "0.6")
"""Of the values of rho0 in the sweep digits, of which each takes its time."""


def test_a_row_for_each_method_and_each_kind_of_it() -> None:
    sweep = load_sweep("digits")
    cells = [cell for cell in sweep.cells if cell.coordinates.get("rho0") in KEPT]
    body = properties_table(sweep.name, cells).body
    sets = "binary, ternary, quaternary"
    found = body.drop(columns=["passes", "levels", "monotone"]).values.tolist()
    assert found[:3] == [
        ["BC", sets, "", "✓", "∞, ∞"],
        ["PQ", sets, "", "✗", "↗, ↗"],
        ["rPC", sets, "", "✗", "↗, ↗"],
    ]
    # From half the distance of two levels on, L is the projector: PC is BC.
    assert [row[3:] for row in found[3:]] == [["✓", "↗, ↗"], ["✓", "∞, ∞"]]
    assert found[4][:3] == ["PC", "ternary, quaternary", "rho0=0.6"]
    assert set(body["levels"]) == {"fixed"}
    assert set(body["monotone"]) == {"✓"}
    # A pull makes another method of the same block.
    sweep = load_sweep("pull_smoke")
    cells = [
        cell for cell in sweep.cells if cell.recipe.seed == 0 and cell.coordinates["rho0"] == "0.01"
    ]
    body = properties_table(sweep.name, cells).body
    assert body[["method", "where", "PC"]].values.tolist() == [
        ["gradient at w", "theta=0", "✓"],
        ["gradient at w", "theta=0.0001, 0.001, 0.01, 0.1, 1", "✗"],
        ["gradient at w*", "", "✗"],
    ]


def test_full_precision_is_refused() -> None:
    cells = [cell for cell in load_sweep("digits").cells if cell.method == "FP"]
    with pytest.raises(ConfigurationError, match="has no quantized trials; must have at least one"):
        properties_table("digits", cells)


def test_the_command_prints_both_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the user's own sweep, and of the papers'."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    assert main(["taxonomy", "tiny.py"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Properties of the methods of tiny." in shown
    assert re.search(r"\bMD binary\b", shown)
    assert "ProxQuant-Binary-L1 PQ ✗ ✓ ✗ ↗, ↗" in shown
    assert "ProxQuant-Ternary PQ-Ternary ✗ ✓ (✗) ✓ (✗) ✗" in shown
    assert "BinaryRelax BinaryRelax ✓ ✓ ✗ 0, ↗" in shown
    assert "TrainedTernary TTQ ✗ (✓) ✓ ✓ ✗ (∞, ∞)" in shown
    assert "ProxConnect (ours) PC - ✓ ✗ (✓) ↗, ↗" in shown
    assert "TrainedTernary: its latents move against the gradient times W_n, 1 or W_p" in shown
