"""Whether a map is L_rho^varrho, with which shifts, and how they change during training."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.quantizers.piecewise_linear import piecewise_linear

_NEAR = 1e-6
"""Distance, in half-gaps, of the two points near the middle of a gap that the shifts are read at.
Shifts that leave less than it to the middle count as saturated."""
_POINTS = 64
"""Number of points per half-gap at which a map is compared."""
_EXACT = 1e-7
"""Largest difference that counts as equal, relative to the largest gap."""


class Trend(Enum):
    """How a shift changes during training, as Table 1 of the ProxConnect paper has it."""

    ZERO = "0"
    INFINITE = "∞"
    """At least the half-gap, so that the map is the projector."""
    INCREASING = "↗"
    CONSTANT = "constant"
    OTHER = "varies"


@dataclass(frozen=True)
class Shifts:
    """rho and varrho of L_rho^varrho."""

    rho: float
    """Horizontal shift; infinite for the projector."""
    varrho: float
    """Vertical shift; infinite for the projector."""
    relative: bool = False
    """Whether the shifts are fractions of each half-gap, which differ in length."""


def shifts_of(image: Callable[[Tensor], Tensor], levels: Sequence[float]) -> Shifts | None:
    """Return the shifts with which an elementwise map is L_rho^varrho; None if there are none.

    Maps are compared between the outermost levels. L_rho^varrho may clip beyond them, but need not
    (ProxConnect paper, section 3.2).

    Args:
        image: maps float64 weights (n,) elementwise.
        levels: the quantization set Q.
    """
    gaps = [(low, (high - low) / 2) for low, high in pairwise(levels)]
    sides = torch.linspace(0, 1 - _NEAR, _POINTS, dtype=torch.float64)
    sides = torch.cat([sides, sides.new_tensor([1 - 2 * _NEAR])])
    points = torch.cat(
        [part for low, half in gaps for part in (low + half * sides, low + half * (2 - sides))]
    )
    found = image(points)
    tolerance = 2 * _EXACT * max(half for _, half in gaps)
    read = []
    for (low, half), (below, _) in zip(gaps, found.view(len(gaps), 2, -1), strict=True):
        near, far = (float(below[place]) - low for place in (-2, -1))
        if abs(near) > tolerance:
            slope = (near - far) / (half * _NEAR)
            rho = half * (1 - _NEAR) - near / slope if slope else math.nan
            read.append((rho, half - slope * (half - rho), half))
    if not read:
        candidates = [Shifts(math.inf, math.inf)]
    else:
        rho, varrho, half = read[0]
        candidates = [
            Shifts(max(rho, 0.0), max(varrho, 0.0)),
            Shifts(max(rho, 0.0) / half, max(varrho, 0.0) / half, relative=True),
        ]
    for shifts in candidates:
        if math.isnan(shifts.rho) or math.isnan(shifts.varrho):
            continue
        expected = piecewise_linear(
            points, tuple(levels), shifts.rho, shifts.varrho, relative=shifts.relative
        )
        if (found - expected).abs().max() <= tolerance:
            return _cleaned(shifts)
    return None


def _cleaned(shifts: Shifts) -> Shifts:
    """Return the shifts without rounding errors around 0."""
    rho, varrho = (0.0 if value < _EXACT else value for value in (shifts.rho, shifts.varrho))
    return Shifts(rho, varrho, shifts.relative)


def trend_of(values: Sequence[float]) -> Trend:
    """Return how a shift changes.

    Args:
        values: the shift at several steps in their order; infinite where the map is the projector,
            which says nothing about a shift that is 0 before.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Trend.INFINITE
    if not any(finite):
        return Trend.ZERO
    if list(values) == sorted(values) and values[0] < values[-1]:
        return Trend.INCREASING
    return Trend.CONSTANT if len(set(values)) == 1 else Trend.OTHER
