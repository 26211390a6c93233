"""Shifts that are read from a map are those it was made with."""

import math

import pytest
import torch

from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import piecewise_linear
from quantlab.taxonomy.shifts import Shifts, Trend, shifts_of, trend_of

SETS = {"binary": BINARY, "ternary": TERNARY, "quaternary": QUATERNARY}
PAIRS = [(0.0, 0.0), (0.1, 0.1), (0.2, 0.0), (0.0, 0.2), (0.29, 0.05), (0.05, 0.29)]


@pytest.mark.parametrize("levels", SETS.values(), ids=SETS)
@pytest.mark.parametrize(("rho", "varrho"), PAIRS)
def test_shifts_are_read_from_the_map(levels: tuple[float, ...], rho: float, varrho: float) -> None:
    found = shifts_of(lambda w: piecewise_linear(w, levels, rho, varrho), levels)
    assert found is not None
    assert (found.rho, found.varrho) == pytest.approx((rho, varrho), abs=1e-7)
    assert not found.relative
    found = shifts_of(lambda w: piecewise_linear(w, levels, rho, varrho, relative=True), levels)
    assert found is not None
    if levels == QUATERNARY and (rho or varrho):  # only their share of the gaps is the same
        assert found.relative
        assert (found.rho, found.varrho) == pytest.approx((rho, varrho), abs=1e-7)


def test_saturated_gaps_say_nothing_about_the_others() -> None:
    """The inner half-gap of the quaternary set is 0.3, the outer ones are 0.35."""
    found = shifts_of(lambda w: piecewise_linear(w, QUATERNARY, 0.32, 0.1), QUATERNARY)
    assert found is not None
    assert (found.rho, found.varrho) == pytest.approx((0.32, 0.1), abs=1e-7)
    for image in (
        lambda w: piecewise_linear(w, QUATERNARY, 0.35, 0.0),
        lambda w: Nearest(QUATERNARY).prox(w, 0.0),
    ):
        assert shifts_of(image, QUATERNARY) == Shifts(math.inf, math.inf)


def test_binary_relax_is_relative_to_the_gaps() -> None:
    """Table 1 lists it as L_0^varrho. With gaps of different lengths, varrho is a share of them."""
    mu = 0.7
    for levels, relative in ((BINARY, False), (TERNARY, False), (QUATERNARY, True)):
        found = shifts_of(lambda w, q=levels: BinaryRelax(q).prox(w, mu), levels)
        assert found is not None
        half = 1 if relative else (levels[1] - levels[0]) / 2
        assert (found.rho, found.varrho) == pytest.approx((0, half * mu / (1 + mu)), abs=1e-7)
        assert found.relative is relative


def test_other_maps_have_no_shifts() -> None:
    for image in (
        lambda w: ShiftedTanh(TERNARY).prox(w, 3.0),
        lambda w: w**3,
        lambda w: 0.5 * w,
        lambda w: torch.where(w.abs() < 0.4, 0.0, w.sign()),  # a threshold beside the middle
        torch.zeros_like,
    ):
        assert shifts_of(image, TERNARY) is None


@pytest.mark.parametrize(
    ("values", "trend"),
    [
        ((0, 0, 0), Trend.ZERO),
        ((0, 0, math.inf), Trend.ZERO),
        ((math.inf, math.inf), Trend.INFINITE),
        ((0, 0.1, 0.2), Trend.INCREASING),
        ((0.1, 0.1, math.inf), Trend.INCREASING),
        ((0.1, 0.1), Trend.CONSTANT),
        ((0.1, 0.2, 0.1), Trend.OTHER),
        ((math.inf, 0.1), Trend.OTHER),
    ],
)
def test_trends(values: tuple[float, ...], trend: Trend) -> None:
    assert trend_of(values) is trend
