"""Packing: what is packed comes back, in as few bytes as digits of base L can have."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab.export.packing import codes_per_byte, pack, packed_bytes, unpack


@given(num_levels=st.integers(1, 256), data=st.data())
@settings(deadline=None, max_examples=200)
def test_codes_come_back(num_levels: int, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(0, num_levels - 1), max_size=40))
    packed = pack(torch.tensor(codes, dtype=torch.uint8), num_levels)
    assert packed.dtype is torch.uint8
    assert len(packed) == packed_bytes(len(codes), num_levels)
    assert unpack(packed, len(codes), num_levels).tolist() == codes


def test_bits_of_a_code() -> None:
    bits = {levels: 8 / codes_per_byte(levels) for levels in (2, 3, 4, 16, 256)}
    assert bits == {2: 1, 3: 1.6, 4: 2, 16: 4, 256: 8}


@given(num_levels=st.integers(2, 256))
def test_no_digit_more_fits(num_levels: int) -> None:
    count = codes_per_byte(num_levels)
    assert count * math.log2(num_levels) <= 8 + 1e-12 < (count + 1) * math.log2(num_levels) + 1e-9


def test_the_first_code_is_the_least_significant_digit() -> None:
    codes = torch.tensor([2, 1, 0, 0, 0, 1], dtype=torch.uint8)
    assert pack(codes, 3).tolist() == [2 + 3 * 1, 1]


@pytest.mark.parametrize(
    ("packed", "count", "num_levels"),
    [([243], 5, 3), ([3], 1, 3), ([1, 0], 8, 2), ([2], 1, 2), ([5], 1, 5), ([200], 1, 200)],
)
def test_bytes_that_nobody_packed(packed: list[int], count: int, num_levels: int) -> None:
    with pytest.raises(ValueError, match="packed codes"):
        unpack(torch.tensor(packed, dtype=torch.uint8), count, num_levels)
