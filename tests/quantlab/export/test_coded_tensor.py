"""Codes restore weights bit for bit, whatever places their levels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantlab.export.coded_tensor import coded
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY

SETS = [BINARY, TERNARY, QUATERNARY, (-2.0, -0.5, -0.4, 3.0), tuple(range(-8, 8))]


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int32)


def drawn(levels: tuple[float, ...], *shape: int, seed: int = 0) -> Tensor:
    places = torch.randint(len(levels), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(levels, dtype=torch.float32)[places]


@pytest.mark.parametrize("levels", SETS, ids=str)
def test_fixed_levels_are_stored_once(levels: tuple[float, ...]) -> None:
    weights = drawn(levels, 8, 3, 5, 5)
    found = coded(weights, levels)
    assert found is not None
    assert found.num_rows == 1
    assert found.levels.tolist() == [list(torch.tensor(levels).tolist())]
    assert found.scales is None
    assert torch.equal(bits(found.decoded()), bits(weights))


@pytest.mark.parametrize("levels", SETS, ids=str)
@given(seed=st.integers(0, 1000), magnitude=st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=25)
def test_scales_of_rows_are_found(levels: tuple[float, ...], seed: int, magnitude: float) -> None:
    scales = magnitude * torch.rand(6, generator=torch.Generator().manual_seed(seed)).add(0.01)
    weights = (scales[:, None] * drawn(levels, 6, 60, seed=seed)).view(6, 3, 20)
    found = coded(weights, levels, num_rows=6, is_scaled=True)
    assert found is not None
    assert torch.equal(bits(found.decoded()), bits(weights))
    if 1 in levels and max(map(abs, levels)) == 1:  # the largest weight of a row is its scale
        assert found.scales is not None
        assert torch.equal(found.scales, scales)
        assert found.levels.shape == (len(levels),)


def test_rows_without_the_outer_levels_have_a_scale_too() -> None:
    weights = torch.tensor(
        [[0.5, -0.5] * 8, [0.0, 0.0] * 8, [0.0, 0.25] * 8, [-2.0, 1.0] * 8], dtype=torch.float32
    )
    found = coded(weights, (-1.0, -0.5, 0.0, 0.5, 1.0), num_rows=4, is_scaled=True)
    assert found is not None
    assert found.scales is not None
    assert torch.equal(found.decoded(), weights)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_levels_of_rows_come_back(data: st.DataObject) -> None:
    number = st.floats(width=32, allow_nan=False)
    tables = data.draw(st.lists(st.lists(number, min_size=1, max_size=5), min_size=1, max_size=4))
    weights = torch.stack(
        [
            torch.tensor(table, dtype=torch.float32)[torch.arange(60) % len(table)]
            for table in tables
        ]
    )
    found = coded(weights, TERNARY, num_rows=len(tables), is_scaled=True)
    assert found is not None
    assert torch.equal(bits(found.decoded()), bits(weights))


def test_minus_zero_is_not_zero() -> None:
    weights = torch.tensor([-0.0, 0.0, 1.0, -1.0] * 9)
    found = coded(weights, TERNARY)
    assert found is not None
    assert found.num_levels == 4
    assert torch.equal(bits(found.decoded()), bits(weights))


def test_what_codes_do_not_make_smaller_stays_as_it_is() -> None:
    assert coded(torch.linspace(0, 1, 1000), TERNARY) is None
    assert coded(torch.tensor([1.0, -1.0]), BINARY) is None
    assert coded(torch.ones(100, dtype=torch.float64), BINARY) is None
    assert coded(torch.ones(0), BINARY) is None
