"""L_rho^varrho, the ProxConnect paper's general piecewise-linear quantizer."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.plain_values import require_bool, require_number
from quantlab.quantization_sets import nearest_level, set_name
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.scales.placement import Placement, steeper


def piecewise_linear(
    latent: Tensor,
    levels: tuple[float, ...],
    rho: Sharpness,
    varrho: Sharpness,
    *,
    relative: bool = False,
) -> Tensor:
    """Apply the map L_rho^varrho elementwise.

    Within a gap of half-width h, an entry at distance d from its nearest level q is mapped to the
    distance max(0, (d - rho) (h - varrho) / (h - rho)) from q. The horizontal shift rho is the
    radius of the neighbourhood that is mapped to q. The vertical shift varrho is half of the jump
    at the middle of the gap. If rho or varrho is at least h, the gap is projected onto its ends. A
    tie at the middle goes to the upper limit. Entries outside [q_1, q_b] are clipped.

    Source: ProxConnect paper, equations (11)-(13), with the indices of (13) corrected so that the
    pieces join the points (q_k^+, q_k)-(p, p^-) and (p, p^+)-(q_{k+1}^-, q_{k+1}).

    Args:
        latent: w*, any shape; float32 or float64.
        levels: the quantization set, strictly increasing.
        rho: horizontal shift, >= 0, in the unit of the weights.
        varrho: vertical shift, >= 0, in the unit of the weights.
        relative: whether both shifts are fractions of each half-gap instead.

    Returns:
        The image, of the shape and dtype of `latent` and without a gradient. NaN stays NaN.
    """
    inside = latent.detach().clamp(levels[0], levels[-1])
    nearest = nearest_level(inside, levels)
    half_gaps = [(high - low) / 2 for low, high in pairwise(levels)]
    # The map moves an entry towards its nearest level by a shift, and stops there.
    shift = _shift(inside, nearest, half_gaps[0], rho, varrho, relative)
    for level, half_gap, before in zip(levels[1:], half_gaps[1:], half_gaps, strict=False):
        if half_gap != before:
            beyond = _shift(inside, nearest, half_gap, rho, varrho, relative)
            shift = _from_level_on(level, beyond, shift, inside)
    if isinstance(shift, float) and math.isinf(shift):
        return nearest
    upper, lower = inside + shift, inside.sub_(shift)
    return torch.clamp(nearest, min=lower, max=upper, out=nearest)


def _shift(
    inside: Tensor,
    nearest: Tensor,
    half_gap: float,
    rho: Sharpness,
    varrho: Sharpness,
    relative: bool,
) -> Sharpness:
    """Return how far the entries of one gap move. It is infinite where the gap is saturated."""
    unit = half_gap if relative else 1.0
    are_same = rho is varrho  # slope 1: the prox of rho times the distance to Q
    rho, varrho = rho * unit, varrho * unit
    if are_same and isinstance(rho, Tensor):
        same = rho.to(inside.dtype)
        return torch.where(same >= half_gap, math.inf, same)
    if isinstance(rho, Tensor) or isinstance(varrho, Tensor):
        horizontal, vertical = (
            shift.to(inside.dtype) if isinstance(shift, Tensor) else inside.new_full((), shift)
            for shift in (rho, varrho)
        )
        slope = (half_gap - vertical) / (half_gap - horizontal)
        distance = (inside - nearest).abs()
        shift = distance - slope * (distance - horizontal)
        return torch.where(torch.maximum(horizontal, vertical) >= half_gap, math.inf, shift)
    if max(rho, varrho) >= half_gap:
        return math.inf
    if rho == varrho:
        return rho
    distance = (inside - nearest).abs()
    return distance - (half_gap - varrho) / (half_gap - rho) * (distance - rho)


def _scaled(scale: float, sharpness: Sharpness) -> Sharpness:
    """Return the scaled sharpness, which is 0 for a scale of 0, also at infinite sharpness."""
    return scale * sharpness if scale else 0.0


def _from_level_on(level: float, beyond: Sharpness, before: Sharpness, inside: Tensor) -> Sharpness:
    """Combine the shift above a level with the shift below it. Equal numbers give a number."""
    if not isinstance(beyond, Tensor) and not isinstance(before, Tensor) and beyond == before:
        return beyond
    # Two plain numbers would give the default dtype, not that of the weights.
    beyond, before = (
        shift.to(inside.dtype) if isinstance(shift, Tensor) else inside.new_full((), shift)
        for shift in (beyond, before)
    )
    return torch.where(inside >= level, beyond, before)


@dataclass(frozen=True)
class PiecewiseLinear(Quantizer):
    """L_rho^varrho with rho = rho_scale * sharpness and varrho = varrho_scale * sharpness.

    The default, rho = varrho, is the setting of the ProxConnect paper's experiments (section 6.1).
    On the binary set it is ProxQuant's map with clipping. Sharpness 0 gives clipping to [q_1, q_b].
    A sharpness of at least the largest half-gap gives the projector. A tie goes up.
    """

    rho_scale: float = 1.0
    """Horizontal shift per unit of sharpness, >= 0."""
    varrho_scale: float = 1.0
    """Vertical shift per unit of sharpness, >= 0."""
    relative: bool = False
    """Whether the shifts are fractions of each half-gap, as in BinaryRelax and PARQ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("rho_scale", "varrho_scale"):
            require_number(self, field)
        require_bool(self, "relative")

    @property
    def formula(self) -> str:
        """The map with its numbers."""
        unit = ", in half-gaps" if self.relative else ""
        return (
            f"P(w*) = L_rho^varrho(w*) on {set_name(self.levels)} levels\n"
            f"rho = {self.rho_scale:.4g} s, varrho = {self.varrho_scale:.4g} s{unit}"
        )

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply L_rho^varrho at the two scaled shifts."""
        rho = varrho = _scaled(self.rho_scale, sharpness)
        if self.varrho_scale != self.rho_scale:
            varrho = _scaled(self.varrho_scale, sharpness)
        return piecewise_linear(latent, self.levels, rho, varrho, relative=self.relative)

    def within(self, placement: Placement, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map in the rows. Relative shifts are fractions of the half-gaps of the row."""
        if not (self.relative and self.varrho_scale == 0 and placement.keeps_middles):
            return super().within(placement, weights, sharpness)
        # PARQ's map, in one pass instead of three.
        inverse_slope = 1 - _scaled(self.rho_scale, sharpness)
        if isinstance(inverse_slope, float) and inverse_slope <= 0:
            return placement.nearest(weights, self.levels)
        return steeper(weights, placement.levels(self.levels), inverse_slope)
