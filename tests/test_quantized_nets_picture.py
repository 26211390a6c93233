"""The picture of docs/quantized_nets.md shows the noise floor of stochastic rounding."""

import math
import runpy
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DRAWING = runpy.run_path(str(ROOT / "docs" / "draw_quantized_nets.py"))
RATES = (0.1, 0.025)


@pytest.fixture(scope="module")
def spreads() -> dict[str, list[float]]:
    return {
        name: [DRAWING["spread"](method, rate) for rate in RATES]
        for name, method in DRAWING["METHODS"].items()
    }


def test_the_floor_of_stochastic_rounding_is_that_of_the_formula(
    spreads: dict[str, list[float]],
) -> None:
    """E (x - 0.3)^2 = 9 Delta / (12 - Delta), whatever the learning rate."""
    floor = math.sqrt(9 * 0.5 / (12 - 0.5))
    assert spreads["SR"] == pytest.approx([floor] * len(RATES), rel=0.03)


def test_that_of_real_weights_falls_like_the_root_of_the_learning_rate(
    spreads: dict[str, list[float]],
) -> None:
    expected = [math.sqrt(3 * rate / (2 - rate)) for rate in RATES]
    assert spreads["not quantized"] == pytest.approx(expected, rel=0.03)
    for coarse, fine in pairwise(spreads["BC, w_r"]):
        assert fine < 0.6 * coarse
    best = math.sqrt(0.4 * 0.3**2 + 0.6 * 0.2**2)  # 0 and 0.5 with mean 0.3
    assert all(best * 0.97 < each < spreads["SR"][0] for each in spreads["BC, w_b"])


def test_the_documented_numbers_are_those_that_are_drawn() -> None:
    text = (ROOT / "docs" / "quantized_nets.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| 0.")]
    names = list(DRAWING["METHODS"])
    assert [float(row[0]) for row in rows] == list(DRAWING["RATES"])
    for name, documented in zip(names, rows[0][1:], strict=True):
        found = DRAWING["spread"](DRAWING["METHODS"][name], float(rows[0][0]))
        assert float(documented) == pytest.approx(found, abs=0.0006)
