"""Quantization sets Q: increasing tuples of the values that a quantized weight can take."""

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import floats

BINARY = (-1.0, 1.0)
TERNARY = (-1.0, 0.0, 1.0)
QUATERNARY = (-1.0, -0.3, 0.3, 1.0)
"""The three sets of the ProxConnect paper, section 6.1."""

_NAMES = {BINARY: "binary", TERNARY: "ternary", QUATERNARY: "quaternary"}


def quantization_set(levels: Iterable[float]) -> tuple[float, ...]:
    """Validate levels and return them as a tuple of floats.

    Raises:
        ConfigurationError: if there are fewer than two levels, or if the levels are not finite and
            strictly increasing, also as float32.
    """
    try:
        values = floats(levels)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"levels = {brief(levels)}: must be a sequence of numbers, such as (-1, 0, 1)"
        ) from error
    if len(values) < 2:
        raise ConfigurationError(f"levels = {values}: must have at least two levels")
    if not all(math.isfinite(value) for value in values):
        raise ConfigurationError(f"levels = {values}: must be finite numbers")
    for low, high in pairwise(values):
        if low >= high:
            reason = f"{low:g} is duplicated" if low == high else f"{low:g} precedes {high:g}"
            raise ConfigurationError(
                f"levels = {values}: must be strictly increasing, but {reason}"
            )
    short = torch.tensor(values, dtype=torch.float64).float()
    if not short.isfinite().all() or not (short.diff() > 0).all():
        raise ConfigurationError(
            f"levels = {values}: must be finite and strictly increasing as float32, too, but are "
            f"{tuple(short.tolist())}"
        )
    if values[-1] - values[0] > (widest := torch.finfo(torch.float32).max / 4):
        raise ConfigurationError(
            f"levels = {values}: must be at most {widest:.2g} apart, so that float32 has the "
            "weights around them, too"
        )
    return values


def set_name(levels: tuple[float, ...]) -> str:
    """Return the common name of a set (``"ternary"``), or its levels in braces if it has none."""
    return _NAMES.get(levels) or "{" + ", ".join(f"{level:g}" for level in levels) + "}"


def is_symmetric(levels: tuple[float, ...]) -> bool:
    """Whether -q is a level for every level q."""
    return levels == tuple(-level for level in reversed(levels))


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the values as a tensor, which is the same object at every call.

    A copy from the CPU at every step would make a GPU wait. A recorded step (CUDA graph) reads the
    same memory whenever it is replayed.
    """
    return torch.tensor(values, dtype=dtype, device=device)


def nearest_level(latent: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Project every entry onto its nearest level: the projection P_Q.

    Args:
        latent: any shape and floating dtype.
        levels: the quantization set, strictly increasing.

    Returns:
        The nearest levels, of the shape and dtype of `latent` and without a gradient. A tie goes to
        the upper level, as sign(0) = +1 in BinaryConnect. NaN stays NaN.
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
    """Return the distances of adjacent levels, or None if their sums are not exact in the dtype."""
    gaps = tuple(high - low for low, high in pairwise(levels))
    sums = torch.tensor(levels[:1], dtype=dtype)
    for level, gap in zip(levels[1:], gaps, strict=True):
        sums += gap
        if sums.item() != torch.tensor(level, dtype=dtype).item():
            return None
    return gaps
