"""The identities of L_rho^varrho, BinaryRelax and the projector."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY, nearest_level
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.piecewise_linear import PiecewiseLinear, piecewise_linear

UNEVEN = (-2.0, -0.5, -0.4, 3.0)
SETS = [BINARY, TERNARY, QUATERNARY, UNEVEN]
every_set = pytest.mark.parametrize("levels", SETS, ids=str)


def line(levels: tuple[float, ...], beyond: float = 0.0, points: int = 2001) -> Tensor:
    return torch.linspace(levels[0] - beyond, levels[-1] + beyond, points, dtype=torch.float64)


def half_gaps(levels: tuple[float, ...]) -> list[float]:
    return [(high - low) / 2 for low, high in itertools.pairwise(levels)]


def printed_pieces(x: float, levels: tuple[float, ...], rho: float, varrho: float) -> float:
    """Equations (11)-(13), corrected, one piece after the other as the paper writes them."""
    if x <= levels[0]:
        return levels[0]
    for low, high in itertools.pairwise(levels):
        if x > high:
            continue
        middle = (low + high) / 2
        low_plus, high_minus = min(middle, low + rho), max(middle, high - rho)
        p_minus, p_plus = max(low, middle - varrho), min(high, middle + varrho)
        if x <= low_plus and x < middle:
            return low
        if x < middle:
            return low + (x - low_plus) * (p_minus - low) / (middle - low_plus)
        if x >= high_minus:
            return high
        return p_plus + (x - middle) * (high - p_plus) / (high_minus - middle)
    return levels[-1]


@every_set
@pytest.mark.parametrize("rho", [0.0, 0.03, 0.1, 0.3, 0.34, 0.5, 0.9, 2.0])
@pytest.mark.parametrize("varrho", [0.0, 0.04, 0.2, 0.33, 0.5, 1.1])
def test_equals_the_pieces_of_the_paper(
    levels: tuple[float, ...], rho: float, varrho: float
) -> None:
    latent = line(levels, beyond=1.0, points=997)
    expected = [printed_pieces(x, levels, rho, varrho) for x in latent.tolist()]
    image = piecewise_linear(latent, levels, rho, varrho)
    torch.testing.assert_close(
        image, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
    )


@every_set
def test_t1_identity_in_range_without_shifts(levels: tuple[float, ...]) -> None:
    latent = line(levels)
    assert torch.equal(piecewise_linear(latent, levels, 0.0, 0.0), latent)
    outside = torch.tensor([levels[0] - 1, levels[-1] + 1], dtype=torch.float64)
    assert piecewise_linear(outside, levels, 0.0, 0.0).tolist() == [levels[0], levels[-1]]


@every_set
def test_t2_projector_from_the_largest_half_gap_on(levels: tuple[float, ...]) -> None:
    largest = max(half_gaps(levels))
    latent = line(levels, beyond=1.0)
    projected = nearest_level(latent, levels)
    for rho, varrho in [(largest, largest), (largest, 0.0), (0.0, largest), (9.0, 0.1)]:
        assert torch.equal(piecewise_linear(latent, levels, rho, varrho), projected)
    almost = 0.99 * largest
    for rho, varrho in [(almost, almost), (almost, 0.0), (0.0, almost)]:
        assert not torch.equal(piecewise_linear(latent, levels, rho, varrho), projected)


@every_set
@pytest.mark.parametrize("mu", [0.0, 0.1, 1.0, 7.0])
def test_t3_example_3_3_with_gap_scaled_varrho(levels: tuple[float, ...], mu: float) -> None:
    latent = line(levels)
    relaxed = BinaryRelax(levels=levels).prox(latent, mu)
    expected = (latent + mu * nearest_level(latent, levels)) / (1 + mu)
    torch.testing.assert_close(relaxed, expected, atol=1e-14, rtol=0)
    member = PiecewiseLinear(levels=levels, rho_scale=0.0, varrho_scale=1.0, relative=True)
    torch.testing.assert_close(member.prox(latent, mu / (1 + mu)), relaxed, atol=1e-14, rtol=0)


def test_t3_fails_for_the_binary_set_without_gap_scaling() -> None:
    latent = line(BINARY)
    member = piecewise_linear(latent, BINARY, 0.0, 0.5 * 0.5)  # varrho for gap 1, at mu = 1
    assert (member - BinaryRelax(levels=BINARY).prox(latent, 1.0)).abs().max() > 0.2


@every_set
@pytest.mark.parametrize("rho", [0.05, 0.2, 0.6])
def test_t4_equal_shifts_give_the_prox_of_the_distance(
    levels: tuple[float, ...], rho: float
) -> None:
    latent = line(levels, points=101)
    grid = line(levels, points=20001)
    distance = (grid[:, None] - torch.tensor(levels, dtype=torch.float64)).abs().min(dim=1).values
    objective = 0.5 * (grid - latent[:, None]) ** 2 + rho * distance
    image = piecewise_linear(latent, levels, rho, rho)
    at = (image[:, None] - torch.tensor(levels, dtype=torch.float64)).abs().min(dim=1).values
    reached = 0.5 * (image - latent) ** 2 + rho * at
    assert (reached <= objective.min(dim=1).values + 1e-12).all()


@pytest.mark.parametrize("rho", [1e-4, 0.05, 0.3, 0.7, 1.0, 2.0])
def test_t5_proxquants_binary_prox_with_clipping(rho: float) -> None:
    latent = line(BINARY, beyond=2.0, points=2000)  # an even number: 0 is a tie
    magnitude = latent.abs()
    shrunk = torch.relu((magnitude - 1).abs() - rho) * torch.sign(magnitude - 1) + 1
    proxquant = (torch.sign(latent) * shrunk).clamp(-1, 1)
    image = piecewise_linear(latent, BINARY, rho, rho)
    torch.testing.assert_close(image, proxquant, atol=1e-15, rtol=0)


@every_set
@pytest.mark.parametrize(("rho", "varrho"), [(0.03, 0.04), (0.2, 0.0), (0.0, 0.2), (0.4, 0.4)])
def test_t6_projection_is_unchanged(levels: tuple[float, ...], rho: float, varrho: float) -> None:
    latent = line(levels, beyond=0.5)
    image = piecewise_linear(latent, levels, rho, varrho)
    assert torch.equal(nearest_level(image, levels), nearest_level(latent, levels))


@every_set
def test_t7_semigroup_for_equal_shifts_only(levels: tuple[float, ...]) -> None:
    latent = line(levels, beyond=0.5)

    def twice(a: tuple[float, float], b: tuple[float, float]) -> Tensor:
        return piecewise_linear(piecewise_linear(latent, levels, *b), levels, *a)

    once = piecewise_linear(latent, levels, 0.03, 0.03)
    torch.testing.assert_close(twice((0.01, 0.01), (0.02, 0.02)), once, atol=1e-14, rtol=0)
    once = piecewise_linear(latent, levels, 0.03, 0.0)
    assert (twice((0.01, 0.0), (0.02, 0.0)) - once).abs().max() > 1e-4


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY], ids=str)
@pytest.mark.parametrize(("rho", "varrho"), [(0.1, 0.1), (0.2, 0.0), (0.0, 0.2), (0.25, 0.1)])
def test_t8_odd_on_symmetric_sets(levels: tuple[float, ...], rho: float, varrho: float) -> None:
    latent = line(levels, points=2000)
    middles = torch.tensor([(a + b) / 2 for a, b in itertools.pairwise(levels)])
    latent = latent[(latent[:, None] - middles).abs().min(dim=1).values > 1e-9]  # ties go up
    image = piecewise_linear(latent, levels, rho, varrho)
    mirrored = piecewise_linear(-latent, levels, rho, varrho)
    torch.testing.assert_close(mirrored, -image, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("rho", "varrho", "slope"), [(0.1, 0.1, 1.0), (0.2, 0.0, 5 / 3), (0.0, 0.2, 0.6), (0.3, 0.1, 2)]
)
def test_t9_slope(rho: float, varrho: float, slope: float) -> None:
    pair = torch.tensor([0.40, 0.45], dtype=torch.float64)
    image = piecewise_linear(pair, TERNARY, rho, varrho)
    assert math.isclose((image[1] - image[0]).item() / 0.05, slope, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("rho", "varrho", "points", "expected"),
    [
        (0.1, 0.1, (0.2, 0.4, 0.49, 0.51, 0.6, 0.8), (0.1, 0.3, 0.39, 0.61, 0.7, 0.9)),
        (
            0.2,
            0.0,
            (0.25, 0.4, 0.49, 0.51, 0.6, 0.79),
            (0.08333, 0.33333, 0.48333, 0.51667, 0.66667, 0.98333),
        ),
    ],
)
def test_t10_points(
    rho: float, varrho: float, points: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    image = piecewise_linear(torch.tensor(points, dtype=torch.float64), TERNARY, rho, varrho)
    torch.testing.assert_close(
        image, torch.tensor(expected, dtype=torch.float64), atol=1e-5, rtol=0
    )


@every_set
@pytest.mark.parametrize("inverse_slope", [0.9, 0.5, 0.1])
def test_t11_parq_is_a_member(levels: tuple[float, ...], inverse_slope: float) -> None:
    latent = line(levels, beyond=0.5)
    expected = latent.clamp(levels[0], levels[-1])
    for low, high in itertools.pairwise(levels):
        middle = (low + high) / 2
        inside = (latent >= low) & (latent <= high)
        steep = (middle + (latent - middle) / inverse_slope).clamp(low, high)
        expected = torch.where(inside, steep, expected)
    member = PiecewiseLinear(levels=levels, varrho_scale=0.0, relative=True)
    torch.testing.assert_close(member.prox(latent, 1 - inverse_slope), expected, atol=1e-13, rtol=0)


def test_t12_averages_and_random_choices_of_maps() -> None:
    latent = line(TERNARY, beyond=0.3, points=41)
    maps = [piecewise_linear(latent, TERNARY, 0.2, 0.2), BinaryRelax().prox(latent, 1.5)]
    average = 0.3 * maps[0] + 0.7 * maps[1]
    assert (average.diff() >= 0).all()
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(40_000, 1, generator=generator) < 0.3
    drawn = torch.where(first, maps[0], maps[1]).mean(dim=0)
    torch.testing.assert_close(drawn, average, atol=0.005, rtol=0)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("scales", [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_infinite_sharpness_is_the_projector_with_one_shift_too(
    scales: tuple[float, float], relative: bool
) -> None:
    quantizer = PiecewiseLinear(QUATERNARY, *scales, relative=relative)
    latent = torch.linspace(-2, 2, 41, dtype=torch.float64)
    for infinite in (math.inf, torch.tensor([[math.inf]], dtype=torch.float64)):
        image = quantizer.prox(latent.expand(1, -1), infinite)
        assert torch.equal(image[0], nearest_level(latent, QUATERNARY))


def test_keeps_tiny_float32_weights_exact() -> None:
    """Near 0 a binary weight must not be rounded to the float32 grid around 1."""
    latent = torch.tensor([1e-6, 3e-7, -2e-6])
    image = PiecewiseLinear(levels=BINARY).prox(latent, 1e-7)
    expected = latent.double() + torch.tensor([1e-7, 1e-7, -1e-7], dtype=torch.float64)
    torch.testing.assert_close(image.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("field", ["rho_scale", "varrho_scale"])
def test_refuses_negative_scales(field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{field} = -1.*>= 0"):
        PiecewiseLinear(**{field: -1})


@pytest.mark.parametrize("value", ["False", 0.5, None])
def test_relative_is_true_or_false(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"PiecewiseLinear\.relative = .*True or False"):
        PiecewiseLinear(relative=value)
