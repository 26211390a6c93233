"""Packing of codes: as many digits in base L as fit into a byte, for L levels.

Two levels take 1 bit a code, four 2 bits, sixteen 4 bits, and three levels 1.6 bits: 3^5 = 243
combinations of five ternary digits fit into the 256 values of a byte.
"""

import torch
from torch import Tensor

MOST_LEVELS = 256
"""Largest number of levels whose codes can be packed."""


def codes_per_byte(num_levels: int) -> int:
    """Return the largest d with num_levels^d <= 256.

    Args:
        num_levels: number of levels, from 1 to `MOST_LEVELS`; a single one counts as two.
    """
    count = 1
    while max(2, num_levels) ** (count + 1) <= MOST_LEVELS:
        count += 1
    return count


def packed_bytes(count: int, num_levels: int) -> int:
    """Return the number of bytes of packed codes.

    Args:
        count: number of codes.
        num_levels: see `codes_per_byte`.
    """
    return -(-count // codes_per_byte(num_levels))


def pack(codes: Tensor, num_levels: int) -> Tensor:
    """Pack codes into bytes. The first code of a byte is its least significant digit.

    Args:
        codes: (n,) uint8 numbers below `num_levels`.
        num_levels: see `codes_per_byte`.

    Returns:
        uint8 bytes, `packed_bytes` in number; digits after the last code are 0.
    """
    count = codes_per_byte(num_levels)
    padding = -len(codes) % count
    digits = torch.cat([codes, codes.new_zeros(padding)]).view(-1, count)
    packed = torch.zeros(len(digits), dtype=torch.int16, device=codes.device)
    for place in reversed(range(count)):  # Horner's rule
        packed.mul_(max(2, num_levels)).add_(digits[:, place])
    return packed.to(torch.uint8)


def unpack(packed: Tensor, count: int, num_levels: int) -> Tensor:
    """Return the codes that `pack` has packed.

    Args:
        packed: uint8 bytes.
        count: number of codes.
        num_levels: see `codes_per_byte`.

    Returns:
        (count,) uint8 codes.

    Raises:
        ValueError: if `pack` cannot have made these bytes.
    """
    base, digits = max(2, num_levels), codes_per_byte(num_levels)
    if len(packed) != packed_bytes(count, num_levels):
        raise ValueError(f"{len(packed)} bytes of packed codes instead of the expected number")
    rest = packed.to(torch.int16)
    codes = packed.new_empty(len(packed), digits)
    for place in range(digits):
        codes[:, place] = rest % base
        rest = rest // base
    flat = codes.flatten()
    if rest.any() or flat[count:].any() or (count and int(flat.max()) >= num_levels):
        raise ValueError("packed codes name levels that do not exist")
    return flat[:count]
