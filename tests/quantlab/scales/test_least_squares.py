"""Levels of the least squared distance, against exhaustive search."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.least_squares import LeastSquares
from tests.quantlab.scales.test_rules import EIGHT, assigned, rows

SIXTEEN = tuple(float(level) for level in range(-15, 16, 2))
SIZE = 7


def error(scale: LeastSquares, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
    """The squared distance of each row from its nearest levels."""
    nearest = scale.place(latent, levels).nearest(latent, levels)
    return (nearest - latent).square().sum(dim=-1)


def some_rows() -> Tensor:
    """Rows of several shapes: light and heavy tails, ties, zeros, one sign."""
    normal = rows(12, k=SIZE)
    ties = torch.tensor(
        [[1.0, 1, 1, -2, 2, 2, 0], [0.0, 0, 0, 0, 0, 3, 1], [1.0, 2, 3, 4, 5, 6, 7]]
    )
    return torch.cat([normal, normal**3, normal.abs().sqrt(), normal.sign() + normal / 10, ties])


def least(latent: Tensor, basis: Tensor) -> Tensor:
    """The least squared distance of each row over all assignments of the rows of a basis.

    Args:
        latent: (rows, k).
        basis: (choices, b) coefficients of v_1, ..., v_b, one row for each level.
    """
    design = basis[assigned(latent.shape[1], len(basis))].double()  # (assignments, k, b)
    projector = design @ torch.linalg.pinv(design)
    explained = torch.einsum("rk,akl,rl->ar", latent, projector, latent)
    return latent.square().sum(dim=-1) - explained.amax(dim=0)


@pytest.mark.parametrize(
    ("levels", "basis"),
    [
        (BINARY, [[-1], [1]]),
        (TERNARY, [[-1], [0], [1]]),
        (QUATERNARY, [[-1, -1], [-1, 1], [1, -1], [1, 1]]),
    ],
)
def test_no_levels_are_closer_to_the_weights(
    levels: tuple[float, ...], basis: list[list[int]]
) -> None:
    latent = some_rows()
    expected = least(latent, torch.tensor(basis))
    found = error(LeastSquares(), latent, levels)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("levels", [TERNARY, QUATERNARY])
def test_the_best_split_of_long_rows_is_found(levels: tuple[float, ...]) -> None:
    latent = rows(4, k=301)
    order = latent.abs().sort(dim=-1, descending=True).values
    errors = []
    for count in range(1, 302):
        parts = [order[:, :count], order[:, count:]]
        means = [parts[0].mean(dim=-1, keepdim=True), torch.zeros(len(latent), 1)]
        if len(levels) == 4 and count < 301:
            means[1] = parts[1].mean(dim=-1, keepdim=True)
        errors.append(
            sum((part - mean).square().sum(dim=-1) for part, mean in zip(parts, means, strict=True))
        )
    expected = torch.stack([value for value in errors if isinstance(value, Tensor)]).amin(dim=0)
    torch.testing.assert_close(error(LeastSquares(), latent, levels), expected)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_greedy_levels_are_those_of_the_recursion(bits: int) -> None:
    levels = (BINARY, QUATERNARY, EIGHT, SIXTEEN)[bits - 1]
    latent = rows(5)
    placement = LeastSquares(greedy=True).place(latent, levels)
    for row, found in zip(latent, placement.levels(levels), strict=True):
        rest, parts = row.tolist(), []
        for _ in range(bits):
            parts.append(sum(map(abs, rest)) / len(rest))
            rest = [r - parts[-1] * (1 if r >= 0 else -1) for r in rest]
        sums = sorted(
            sum(sign * part for sign, part in zip(signs, parts, strict=True))
            for signs in product((-1, 1), repeat=bits)
        )
        torch.testing.assert_close(found, row.new_tensor(sums), rtol=1e-12, atol=1e-13)


def test_the_optimum_is_at_least_as_close_as_greedy_levels_and_greedy_bits_help() -> None:
    latent = rows(50, k=64)
    greedy = [
        error(LeastSquares(greedy=True), latent, levels)
        for levels in (BINARY, QUATERNARY, EIGHT, SIXTEEN)
    ]
    best = error(LeastSquares(), latent, QUATERNARY)
    assert (best <= greedy[1] * (1 + 1e-12)).all()
    assert (best < 0.99 * greedy[1]).any()
    for fewer, more in pairwise(greedy):
        assert (more < fewer).all()
        assert more.sum() < 0.6 * fewer.sum()


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY, EIGHT])
@pytest.mark.parametrize("inverse_slope", [1.0, 0.6, 0.1, 1e-3, 0.0])
def test_the_relative_map_is_that_of_parq(levels: tuple[float, ...], inverse_slope: float) -> None:
    """PARQ's map: clamp(c + (w - c) / s) around the middle c of two adjacent levels."""
    latent = 1.5 * rows(5)
    scale = LeastSquares(greedy=len(levels) > 4)
    placement = scale.place(latent, levels)
    quantizer = PiecewiseLinear(levels, varrho_scale=0.0, relative=True)
    found = quantizer.within(placement, latent, 1 - inverse_slope)
    row_levels = placement.levels(levels)
    expected = torch.full_like(latent, float("nan"))
    for row in range(len(latent)):
        own = row_levels[row].tolist()
        for place, weight in enumerate(latent[row].tolist()):
            inside = min(max(weight, own[0]), own[-1])
            gap = max(k for k in range(len(own) - 1) if own[k] <= inside)
            low, high = own[gap], own[gap + 1]
            middle = (low + high) / 2
            if inverse_slope == 0:
                expected[row, place] = high if inside >= middle else low
            else:
                moved = middle + (inside - middle) / inverse_slope
                expected[row, place] = min(max(moved, low), high)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
