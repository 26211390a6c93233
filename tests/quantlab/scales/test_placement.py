"""Placements: increasing functions between the weights of a row and the coordinates of a set."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.optim.placed import Placed
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY, nearest_level
from quantlab.quantizers import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.tanh import Tanh
from quantlab.scales.placement import Placement, Proportional, Table, TwoSided, steeper

Make = Callable[[tuple[float, ...], torch.Generator], Placement]
ROWS = (2, 3)


def numbers(random: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=random, dtype=torch.float64) + 0.1


def proportional(levels: tuple[float, ...], random: torch.Generator) -> Placement:
    return Proportional(numbers(random, *ROWS, 1), numbers(random, *ROWS, 1))


def equal(levels: tuple[float, ...], random: torch.Generator) -> Placement:
    scale = numbers(random, *ROWS, 1)
    return Proportional(scale, scale)


def two_sided(levels: tuple[float, ...], random: torch.Generator) -> Placement:
    return TwoSided(*(numbers(random, *ROWS, 1) for _ in range(3)))


def table(levels: tuple[float, ...], random: torch.Generator) -> Placement:
    return Table(numbers(random, *ROWS, len(levels)).cumsum(-1) - 1, levels)


PLACEMENTS = [proportional, equal, two_sided, table]
SETS = [BINARY, TERNARY, QUATERNARY, (-4.0, -1.0, 0.0, 0.5, 3.0)]


@pytest.mark.parametrize("make", PLACEMENTS)
@pytest.mark.parametrize("levels", SETS)
def test_a_placement_is_increasing_and_carries_the_set_to_the_levels_of_each_row(
    make: Make, levels: tuple[float, ...]
) -> None:
    placement = make(levels, torch.Generator().manual_seed(0))
    weights = torch.linspace(-5, 5, 301, dtype=torch.float64).expand(*ROWS, -1)
    assert (placement.enter(weights).diff(dim=-1) > 0).all()
    assert (placement.leave(weights).diff(dim=-1) > 0).all()
    found = placement.levels(levels)
    assert found.shape == (*ROWS, len(levels))
    assert (found.diff(dim=-1) > 0).all()
    unit = torch.tensor(levels, dtype=torch.float64).expand_as(found)
    assert torch.equal(placement.leave(unit), found)
    for own in torch.unbind(placement.nearest(weights, levels).flatten(0, 1)):
        assert set(own.tolist()) <= set(found.flatten().tolist())


@pytest.mark.parametrize("make", [equal, table])
@given(seed=st.integers(0, 10_000))
def test_what_enters_leaves_unchanged(make: Make, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    placement = make(QUATERNARY, random)
    weights = 4 * torch.rand(*ROWS, 50, generator=random, dtype=torch.float64) - 2
    back = placement.leave(placement.enter(weights))
    torch.testing.assert_close(back, weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [equal, table])
@pytest.mark.parametrize("levels", SETS)
def test_the_nearest_level_is_that_of_the_row(make: Make, levels: tuple[float, ...]) -> None:
    random = torch.Generator().manual_seed(1)
    placement = make(levels, random)
    weights = 6 * torch.rand(*ROWS, 200, generator=random, dtype=torch.float64) - 3
    found = placement.levels(levels)
    distances = (weights[..., None] - found[..., None, :]).abs()
    nearest = found.gather(-1, distances.argmin(-1))
    assert torch.equal(placement.nearest(weights, levels), nearest)
    in_coordinates = placement.leave(nearest_level(placement.enter(weights), levels))
    assert torch.equal(placement.nearest(weights, levels), in_coordinates)


def test_nan_stays_nan() -> None:
    for make in PLACEMENTS:
        placement = make(TERNARY, torch.Generator().manual_seed(0))
        weights = torch.full((*ROWS, 4), torch.nan, dtype=torch.float64)
        assert placement.nearest(weights, TERNARY).isnan().all(), make


@pytest.mark.parametrize("make", PLACEMENTS)
def test_slopes_are_derivatives(make: Make) -> None:
    random = torch.Generator().manual_seed(2)
    placement = make(QUATERNARY, random)
    points = (4 * torch.rand(*ROWS, 30, generator=random, dtype=torch.float64) - 2).requires_grad_()
    for carried, slope in (
        (placement.enter(points), placement.enter_slope(points)),
        (placement.leave(points), placement.leave_slope(points)),
    ):
        (found,) = torch.autograd.grad(carried.sum(), points)
        torch.testing.assert_close(found, slope.expand_as(found))


@pytest.mark.parametrize("make", PLACEMENTS)
@pytest.mark.parametrize("quantizer", [PiecewiseLinear(), Tanh(), Nearest()], ids=repr)
def test_a_placed_map_is_the_map_between_entering_and_leaving(
    make: Make, quantizer: Quantizer
) -> None:
    random = torch.Generator().manual_seed(3)
    placement = make(TERNARY, random)
    latent = 4 * torch.rand(2, 60, generator=random, dtype=torch.float64) - 2
    placed = Placed(quantizer, placement, 20)
    rows = latent.reshape(*ROWS, 20)
    for sharpness in (0.1, torch.tensor([[0.1], [0.7]], dtype=torch.float64)):
        own = sharpness if isinstance(sharpness, float) else sharpness[..., None]
        expected = placement.leave(quantizer.prox(placement.enter(rows), own))
        assert torch.equal(placed.weights(latent, sharpness), expected.reshape(2, 60))


def test_the_pullback_of_a_placed_map_is_the_chain_rule_with_fixed_levels() -> None:
    random = torch.Generator().manual_seed(4)
    placement, gradient = table(TERNARY, random), numbers(random, 2, 60)
    placed = Placed(ShiftedTanh(), placement, 20)
    latent = (3 * torch.rand(2, 60, generator=random, dtype=torch.float64) - 1.5).requires_grad_()
    (expected,) = torch.autograd.grad(placed.weights(latent, 0.6), latent, gradient)
    found = placed.pullback(gradient, latent.detach(), 0.6)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_binary_relax_moves_weights_to_the_levels_of_their_row() -> None:
    random = torch.Generator().manual_seed(5)
    placement = two_sided(TERNARY, random)
    weights = 4 * torch.rand(*ROWS, 20, generator=random, dtype=torch.float64) - 2
    nearest = placement.nearest(weights, TERNARY)
    found = BinaryRelax(TERNARY).within(placement, weights, 0.5)
    torch.testing.assert_close(found, (weights + 0.5 * nearest) / 1.5)


@pytest.mark.parametrize("levels", SETS)
@pytest.mark.parametrize("slope", [1.0, 0.3, 1e-2, 0.0])
def test_a_steeper_identity_is_the_relative_map_of_the_row(
    levels: tuple[float, ...], slope: float
) -> None:
    """As a number or as a column of numbers, and with the middle of each gap going up at 0."""
    placement = table(levels, torch.Generator().manual_seed(6))
    row_levels = placement.levels(levels)
    middles = (row_levels[..., 1:] + row_levels[..., :-1]) / 2
    own = torch.linspace(-4, 4, 101, dtype=torch.float64).expand(*ROWS, -1)
    weights = torch.cat([own, row_levels, middles], dim=-1)
    column = torch.full((2, 1, 1), slope, dtype=torch.float64)
    if slope == 0:
        expected = placement.nearest(weights, levels)
        assert torch.equal(steeper(weights, row_levels, column), expected)
        quantizer = PiecewiseLinear(levels, varrho_scale=0, relative=True)
        for sharpness in (1.0, 2.0, torch.ones(2, 1, 1, dtype=torch.float64)):
            assert torch.equal(quantizer.within(placement, weights, sharpness), expected)
        return
    inside = weights.clamp(row_levels[..., :1], row_levels[..., -1:])
    gap = (inside[..., None] >= row_levels[..., None, 1:-1]).sum(dim=-1)
    low, high = row_levels[..., :-1].gather(-1, gap), row_levels[..., 1:].gather(-1, gap)
    middle = (low + high) / 2
    expected = (middle + (inside - middle) / slope).clamp(low, high)
    for given_slope in (slope, column):
        found = steeper(weights, row_levels, given_slope)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [equal, table])
def test_relative_shifts_are_those_of_the_rows_half_gaps(make: Make) -> None:
    """The fast way for PARQ's map is the same as entering, mapping and leaving."""
    placement = make(QUATERNARY, torch.Generator().manual_seed(7))
    assert placement.keeps_middles
    weights = torch.linspace(-3, 3, 200, dtype=torch.float64).expand(*ROWS, -1)
    quantizer = PiecewiseLinear(QUATERNARY, varrho_scale=0, relative=True)
    for sharpness in (0.0, 0.4, 0.99):
        slow = placement.leave(quantizer.prox(placement.enter(weights), sharpness))
        fast = quantizer.within(placement, weights, sharpness)
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    assert not proportional(QUATERNARY, torch.Generator().manual_seed(0)).keeps_middles
