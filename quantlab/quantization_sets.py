"""Quantization sets Q: sorted tuples of the values that a quantized weight may take."""

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import floats

BINARY = (-1.0, 1.0)
TERNARY = (-1.0, 0.0, 1.0)
QUATERNARY = (-1.0, -0.3, 0.3, 1.0)
"""The three sets of the ProxConnect paper, section 6.1."""

_NAMES = {BINARY: "binary", TERNARY: "ternary", QUATERNARY: "quaternary"}


def quantization_set(levels: Iterable[float]) -> tuple[float, ...]:
    """The levels as a validated tuple of floats.

    Raises:
        ConfigurationError: fewer than two levels, a non-finite one, or not strictly increasing.
    """
    try:
        values = floats(levels)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"levels = {levels!r}: must be a sequence of numbers, such as (-1, 0, 1)"
        ) from error
    if len(values) < 2:
        raise ConfigurationError(f"levels = {values}: a quantization set needs at least two levels")
    if not all(math.isfinite(value) for value in values):
        raise ConfigurationError(f"levels = {values}: every level must be finite")
    for low, high in pairwise(values):
        if low >= high:
            reason = "duplicated" if low == high else "unsorted"
            raise ConfigurationError(
                f"levels = {values}: {reason} ({low:g} stands before {high:g}); "
                "levels must be strictly increasing"
            )
    return values


def set_name(levels: tuple[float, ...]) -> str:
    """The field's name for a set, or its levels in braces where it has none."""
    return _NAMES.get(levels) or "{" + ", ".join(f"{level:g}" for level in levels) + "}"


def nearest_level(latent: Tensor, levels: tuple[float, ...]) -> Tensor:
    """The projection P_Q: the level nearest to each entry, any shape, same dtype.

    A tie goes to the upper level, as sign(0) = +1 in BinaryConnect; NaN stays NaN. The result
    carries no gradient.
    """
    if latent.dtype in (torch.float16, torch.bfloat16):
        return nearest_level(latent.float(), levels).to(latent.dtype)
    latent = latent.detach()
    # Comparisons written as 0 and 1 into floats take a tenth of the time of `torch.where`; clamping
    # to a single value leaves nothing of the entries but whether they are NaN.
    gaps = _exact_gaps(levels, latent.dtype)
    start = 0.0 if gaps is None else levels[0]
    nearest = latent.clamp(start, start)
    reached = torch.empty_like(nearest)
    if gaps is not None:
        for (low, high), gap in zip(pairwise(levels), gaps, strict=True):
            torch.ge(latent, (low + high) / 2, out=reached)
            nearest.add_(reached, alpha=gap)
        return nearest
    # Exactly one of the summands is not zero, so that the sum is a level to the last bit.
    above = torch.ones_like(nearest)
    for low, high in pairwise(levels):
        torch.ge(latent, (low + high) / 2, out=reached)
        nearest.add_(above.sub_(reached), alpha=low)
        above, reached = reached, above
    return nearest.add_(above, alpha=levels[-1])


@lru_cache
def _exact_gaps(levels: tuple[float, ...], dtype: torch.dtype) -> tuple[float, ...] | None:
    """The distances of neighbouring levels, if adding them up in a dtype gives the levels."""
    gaps = tuple(high - low for low, high in pairwise(levels))
    sums = torch.tensor(levels[:1], dtype=dtype)
    for level, gap in zip(levels[1:], gaps, strict=True):
        sums += gap
        if sums.item() != torch.tensor(level, dtype=dtype).item():
            return None
    return gaps
