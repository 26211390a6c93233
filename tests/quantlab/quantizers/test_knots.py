"""Knots and Tanh: every setting is a proximal map, and known maps are special cases."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantlab import ConfigurationError
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.growth import Geometric, Growth, Power, Saturating
from quantlab.quantizers.knots import Half, Knots
from quantlab.quantizers.mixture import Averaged
from quantlab.quantizers.piecewise_linear import PiecewiseLinear, piecewise_linear
from quantlab.quantizers.tanh import Tanh

SETS = [BINARY, TERNARY, QUATERNARY, (-2.0, -0.5, -0.4, 3.0)]
every_set = pytest.mark.parametrize("levels", SETS)
LINE = torch.linspace(-3.5, 3.5, 2801, dtype=torch.float64)

starts = st.floats(1e-6, 3)
laws: st.SearchStrategy[Growth] = st.one_of(
    st.builds(Power, starts, st.floats(0.1, 3)),
    st.builds(Saturating, starts, st.floats(0.1, 3)),
    st.builds(Geometric, starts, st.floats(1.01, 3)),
)
level_sets = st.lists(st.integers(-40, 40), min_size=2, max_size=8, unique=True).map(
    lambda values: tuple(sorted(value / 8 for value in values))
)


@st.composite
def points_of_the_space(draw: st.DrawFn) -> Knots:
    levels = draw(level_sets)
    gaps = len(levels) - 1
    count = draw(st.sampled_from([1, gaps, 2 * gaps]))
    half = st.builds(
        Half, st.floats(0.01, 4), st.one_of(st.just(0.0), st.floats(0.01, 4)), st.floats(0, 1)
    )
    halves = draw(st.lists(half, min_size=count, max_size=count))
    varrho = draw(st.one_of(st.just(Power(0)), laws))
    rho = draw(laws)
    assume(rho.limit > 1 or min(half.snap for half in halves) >= 1)
    return Knots(levels, rho=rho, varrho=varrho, halves=tuple(halves))


@given(points_of_the_space(), st.floats(0.5, 300), st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_every_point_is_a_proximal_map(knots: Knots, sharpness: float, weight: float) -> None:
    """Theorem 3.1: monotone; levels fixed, the projector in the limit. So are its mixtures."""
    smooth = Averaged(knots.levels, (knots, Tanh()), (weight, 1 - weight))
    low, high = knots.levels[0], knots.levels[-1]
    latent = torch.linspace(low - 1, high + 1, 997, dtype=torch.float64)
    fixed = torch.tensor(knots.levels, dtype=torch.float64)
    for quantizer in (knots, smooth):
        image = quantizer.prox(latent, sharpness)
        assert (image.diff() >= -1e-12).all()
        assert torch.allclose(quantizer.prox(fixed, sharpness), fixed, rtol=0, atol=1e-14)
        sharper = quantizer.prox(latent, 2 * sharpness)
        hard = quantizer.hard(latent)
        assert ((sharper - hard).abs() <= (image - hard).abs() + 1e-9).all()
        torch.testing.assert_close(quantizer.prox(latent, math.inf), hard)


@every_set
@pytest.mark.parametrize(("rho", "varrho"), [(0.1, 0.1), (0.05, 0.3), (0.4, 0.02), (2.0, 0.0)])
def test_l_is_a_member(levels: tuple[float, ...], rho: float, varrho: float) -> None:
    """With absolute shifts, also where gaps differ."""
    halves = []
    for low, high in pairwise(levels):
        halves += [Half(snap=2 / (high - low), jump=2 / (high - low))] * 2
    knots = Knots(levels, rho=Power(rho), varrho=Power(varrho), halves=tuple(halves))
    for sharpness in (0.0, 1.0, 2.5):
        expected = piecewise_linear(LINE, levels, rho * sharpness, varrho * sharpness)
        torch.testing.assert_close(knots.prox(LINE, sharpness), expected, rtol=0, atol=1e-12)


@every_set
def test_relative_l_and_parqs_map_are_members(levels: tuple[float, ...]) -> None:
    knots = Knots(levels, rho=Power(0.3), varrho=Power(0))
    expected = PiecewiseLinear(levels, rho_scale=0.3, varrho_scale=0, relative=True)
    for sharpness in (1.0, 2.0, 3.0, 4.0):
        torch.testing.assert_close(knots.prox(LINE, sharpness), expected.prox(LINE, sharpness))


@every_set
@pytest.mark.parametrize("sharpness", [0.0, 0.3, 1.0, 20.0])
def test_binary_relax_is_a_member(levels: tuple[float, ...], sharpness: float) -> None:
    knots = Knots(levels, rho=Power(0), varrho=Saturating(1.0))
    inside = LINE.clamp(levels[0], levels[-1])
    expected = BinaryRelax(levels).prox(inside, sharpness)
    torch.testing.assert_close(knots.prox(inside, sharpness), expected, rtol=0, atol=1e-12)


@every_set
def test_the_projector_is_a_member(levels: tuple[float, ...]) -> None:
    knots = Knots(levels, rho=Power(1.0), varrho=Power(0))
    assert torch.equal(knots.prox(LINE, 1.0), knots.hard(LINE))


def test_a_bend_by_hand() -> None:
    knots = Knots(BINARY, rho=Power(0.2), varrho=Power(0.5), halves=(Half(bend=0.75),))
    # From -1: snapped up to -0.8, half the way at -0.4, the jump from -0.5 to 0.5 at 0.
    latent = torch.tensor([-0.9, -0.8, -0.6, -0.4, -1e-9, 0.0, 0.4, 0.9], dtype=torch.float64)
    expected = torch.tensor([-1, -1, -0.8125, -0.625, -0.5, 0.5, 0.625, 1], dtype=torch.float64)
    torch.testing.assert_close(knots.prox(latent, 1.0), expected, rtol=0, atol=1e-8)


def test_mirrored_halves_make_an_odd_map() -> None:
    knots = Knots(TERNARY, halves=(Half(snap=2, bend=0.1), Half(jump=3, bend=0.9)))
    torch.testing.assert_close(knots.prox(-LINE[1::2], 2.0), -knots.prox(LINE[1::2], 2.0))
    assert knots.all_halves == (*knots.halves, *knots.halves[::-1])


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_small_strengths_of_a_column_move_weights_as_numbers_do(kind: torch.dtype) -> None:
    strengths = [0.0, *(10.0**power for power in range(-30, 31, 2)), math.inf]
    column = torch.tensor(strengths, dtype=kind)[:, None]
    latent = torch.zeros(len(strengths), 3, dtype=kind)  # which is moved towards 1, by the share
    relaxed = BinaryRelax(BINARY)
    alone = [relaxed.prox(latent[0], strength) for strength in strengths]
    torch.testing.assert_close(relaxed.prox(latent, column), torch.stack(alone))
    shares = torch.as_tensor(relaxed.level_share(column)).expand(-1, 3)
    torch.testing.assert_close(shares, torch.stack(alone), rtol=1e-6, atol=0.0)
    law = Saturating(1.0)
    exact = torch.tensor([[law.at(strength)] for strength in strengths[:-1]], dtype=kind)
    torch.testing.assert_close(torch.as_tensor(law.at(column))[:-1], exact, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(alone, [row.expand(3) for row in [*exact, torch.ones(1).to(kind)]])
    assert torch.as_tensor(law.at(column))[-1] == law.at(math.inf) == 1


def test_laws_by_hand() -> None:
    assert Power(0.1, 2).at(3.0) == pytest.approx(0.9)
    assert Saturating(0.5).at(2.0) == pytest.approx(0.5)
    assert Geometric(0.1, 2).at(4.0) == pytest.approx(0.8)
    for law in (Power(0.1, 0.5), Saturating(0.1), Geometric(0.1)):
        assert law.at(1.0) == pytest.approx(law.start if law != Saturating(0.1) else 1 / 11)
        row = torch.tensor([[1.0], [7.0]])
        expected = torch.tensor([[law.at(1.0)], [law.at(7.0)]])
        torch.testing.assert_close(torch.as_tensor(law.at(row)), expected)
    assert Power(0).at(math.inf) == 0
    assert Geometric(1.0, 3).at(1e6) == math.inf


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Half(snap=-1), r"Half.snap = -1: must be a finite number >= 0"),
        (lambda: Half(bend=2), r"Half.bend = 2: must be a number from 0 to 1"),
        (lambda: Power(-1), r"Power.start = -1: must be a finite number >= 0"),
        (lambda: Power(1, 0), r"Power.exponent = 0.0: must be a finite number > 0"),
        (lambda: Geometric(1, 1), r"Geometric.factor = 1.0: must be a finite number > 1"),
        (lambda: Knots(halves=(Half(),) * 3), "must be a sequence of 1, 2 or 4 Half"),
        (lambda: Knots(rho=Power(0), varrho=Power(0)), "neither shift reaches the middle"),
        (
            lambda: Knots(varrho=Power(0), halves=(Half(snap=0),)),
            "neither shift reaches the middle",
        ),
        (lambda: Knots(rho=0.1), r"Knots.rho = 0.1: must be .* Growth"),
        (lambda: Knots(rho=Saturating(1), varrho=Power(0), halves=(Half(snap=0.5),)), "neither"),
        (lambda: Tanh(beta=Power(0)), "must be a Growth that is unbounded"),
    ],
)
def test_bad_settings_are_named(build: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()  # type: ignore[operator]
