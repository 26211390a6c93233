"""The pictures of docs/mirror_descent.md show what the mirror-descent paper says of its figures."""

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
DRAWING = runpy.run_path(str(ROOT / "docs" / "draw_mirror_descent.py"))


@pytest.fixture(scope="module")
def iterates() -> pd.DataFrame:
    """The iterates of each method, in columns."""
    methods = DRAWING["METHODS"].items()
    return pd.DataFrame({name: DRAWING["trajectory"](method) for name, method in methods})


def test_mirror_descent_converges_to_the_optimum_and_its_variants_agree(
    iterates: pd.DataFrame,
) -> None:
    """At fixed beta. Near -1, 1 + x decays as 1 / (16 lr k)."""
    variants = iterates[["MD-tanh", "MD-tanh-s", "MD-softmax", "MD-softmax-s"]]
    assert (variants.max(axis=1) - variants.min(axis=1)).max() < 1e-13
    by_hand, dual = [], 1.2
    for _ in range(101):
        by_hand.append(math.tanh(4 * dual))
        dual -= 0.1 * 2 * (by_hand[-1] + 1)
    np.testing.assert_allclose(iterates["MD-tanh-s"], by_hand, atol=1e-13)
    assert by_hand[0] == pytest.approx(0.9998645517, abs=1e-10)
    assert 1 + by_hand[100] == pytest.approx(1 / 160, rel=0.1)


def test_gradient_descent_and_proxquant_stay_on_the_wrong_side(iterates: pd.DataFrame) -> None:
    last = iterates.iloc[-1]
    assert last["GD-tanh"] == pytest.approx(0.9998, abs=1e-4)
    assert (iterates["PQ-L1"] == 1).all()
    assert last["PQ-L2"] == pytest.approx(0.6, abs=1e-9)


def test_the_picture_shows_the_iterates_and_the_minima(iterates: pd.DataFrame) -> None:
    """Where a method stops is a minimum of what it minimizes."""
    found = DRAWING["toy_convergence"]()
    shown = found[found["column"] == "iterates"].pivot(index="x", columns="curve", values="y")
    assert set(shown) == {"PQ-L1", "PQ-L2", "GD-tanh", "MD variants"}
    np.testing.assert_array_equal(shown["MD variants"], iterates["MD-tanh"])
    objectives = found[found["column"] != "iterates"]
    for name, lowest in (("f", -1.0), ("PQ-L1", 1.0), ("PQ-L2", 0.6)):
        curve = objectives[(objectives["curve"] == name)].set_index("x")["y"]
        if name != "f":
            curve = curve[curve.index > 0]
        assert curve.idxmin() == pytest.approx(lowest, abs=0.01)


def test_mirror_maps_have_the_inverse_as_their_gradient() -> None:
    """The inverses are increasing, so that the maps are convex (Theorem 1)."""
    found = DRAWING["mirror_maps"]()
    assert set(found["row"]) == {"tanh", "shifted tanh", "softmax"}
    for (row, _), curves in found.groupby(["row", "curve"]):
        panels = {name: part.set_index("x")["y"] for name, part in curves.groupby("column")}
        assert (panels["projection"].diff().dropna() > 0).all()
        assert (panels["inverse"].diff().dropna() > 0).all()
        slope = np.gradient(panels["mirror map"], panels["mirror map"].index)
        expected = panels["inverse"]
        if row == "softmax":  # along the simplex, the other probability falls
            expected = expected - expected.to_numpy()[::-1]
        inner = slice(20, -20)
        np.testing.assert_allclose(slope[inner], expected.iloc[inner], atol=2e-3)
