"""Knots: monotone piecewise-linear maps with free knots between adjacent levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_instance, require_number
from quantlab.quantization_sets import constant
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.growth import Growth, Power

_DEFAULT = Power(0.1)


@dataclass(frozen=True)
class Half:
    """The shape of a map in a half-gap, between a level and the middle of the gap beside it."""

    snap: float = 1.0
    """Horizontal shift per unit of rho, >= 0. Weights within this distance of the level are mapped
    to the level."""
    jump: float = 1.0
    """Vertical shift per unit of varrho, >= 0. The map ends this far below the middle of the
    gap."""
    bend: float = 0.5
    """Height of the map halfway along, as a fraction of the total rise, in [0, 1]; 0.5 gives a
    straight line."""

    def __post_init__(self) -> None:
        for name, most in (("snap", math.inf), ("jump", math.inf), ("bend", 1.0)):
            object.__setattr__(self, name, float(require_number(self, name, most=most)))


@dataclass(frozen=True)
class Knots(Quantizer):
    """A piecewise-linear map with four knots per half-gap: level, end of snap, bend and jump.

    Consider an entry at distance d from its nearest level q, in a half-gap of width h. With
    x = d / h, r = min(1, snap * rho) and v = min(1, jump * varrho), its image has the distance ::

        0                               if x <= r, r = 1 or v = 1
        h (1 - v) g((x - r) / (1 - r))  otherwise

    from q, where g is piecewise linear with g(0) = 0, g(1/2) = bend and g(1) = 1. rho and varrho
    are functions of the sharpness (see `Growth`). All shifts are fractions of the half-gap. Every
    setting is nondecreasing, keeps the levels fixed and has the projector as its limit, so that it
    is a proximal map (ProxConnect paper, Theorem 3.1). A tie at the middle goes up. Entries outside
    [q_1, q_b] are clipped.

    Special cases: L_rho^varrho has bend = 1/2 and snap = jump = 1 / h in each half-gap. BinaryRelax
    has rho = 0 and a `Saturating` varrho (within [q_1, q_b]). PARQ's map has varrho = 0. The
    projector has rho >= 1.
    """

    rho: Growth = _DEFAULT
    """Growth law of the horizontal shifts."""
    varrho: Growth = _DEFAULT
    """Growth law of the vertical shifts."""
    halves: tuple[Half, ...] = (Half(),)
    """Shapes of the half-gaps. One is used for all half-gaps. With b levels, b - 1 describe the
    half-gaps from the lowest level to the middle of the set, and the others are mirrored;
    2 (b - 1) describe all half-gaps in the order of the weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rho", "varrho"):
            require_instance(self, name, Growth)
        halves: object = self.halves
        gaps = len(self.levels) - 1
        is_fitting = isinstance(halves, Sequence) and len(halves) in (1, gaps, 2 * gaps)
        if not is_fitting or not all(isinstance(half, Half) for half in self.halves):
            raise ConfigurationError(
                f"Knots.halves = {halves!r}: must be a sequence of 1, {gaps} or {2 * gaps} Half "
                f"for {gaps + 1} levels"
            )
        object.__setattr__(self, "halves", tuple(self.halves))
        for half in self.halves:
            horizontally = half.snap and half.snap * self.rho.limit
            vertically = half.jump and half.jump * self.varrho.limit
            if max(horizontally, vertically) < 1:
                raise ConfigurationError(
                    f"Knots.halves with {half}, rho = {self.rho} and varrho = {self.varrho}: the "
                    "map does not converge to the projector, because neither shift reaches the "
                    "middle of the gap; increase snap, jump or the start of a growth law"
                )

    @property
    def all_halves(self) -> tuple[Half, ...]:
        """The shapes of all 2 (b - 1) half-gaps, in the order of the weights."""
        gaps = len(self.levels) - 1
        if len(self.halves) == 2 * gaps:
            return self.halves
        if len(self.halves) == gaps:
            return self.halves + self.halves[::-1]
        return self.halves * (2 * gaps)

    @property
    def formula(self) -> str:
        """The map with its numbers, with one line per half-gap that is not a mirror image."""
        lines = [
            "P(w*) = q +- h (1 - v) g((x - r) / (1 - r)), or q where x <= r, r = 1 or v = 1",
            "with q the nearest level, h half the gap, x = |w* - q| / h; g: (0, 0), (1/2, b), "
            "(1, 1), piecewise linear",
            f"rho = {self.rho.formula()}, varrho = {self.varrho.formula()}",
        ]
        ends = [
            (level, middle)
            for low, high in pairwise(self.levels)
            for level, middle in ((low, (low + high) / 2), (high, (low + high) / 2))
        ]
        is_mirrored = len(self.halves) == len(self.levels) - 1
        for half, (level, middle) in zip(self.all_halves, ends, strict=True):
            lines.append(
                f"from {level:.4g} to {middle:.4g}: r = min(1, {half.snap:.4g} rho), "
                f"v = min(1, {half.jump:.4g} varrho), b = {half.bend:.4g}"
            )
        if is_mirrored:
            lines = [*lines[: 3 + len(self.halves)], "the other half-gaps are mirror images"]
        return "\n".join(lines)

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map of the class to `latent`."""
        inside = latent.detach().clamp(self.levels[0], self.levels[-1])

        def table(values: Sequence[float]) -> Tensor:
            return constant(tuple(values), inside.dtype, inside.device)

        edges, anchors, widths = [], [], []
        for low, high in pairwise(self.levels):
            middle = (low + high) / 2
            edges += [middle, high]
            anchors += [low, high]
            widths += [(high - low) / 2] * 2
        # The half-gap of each entry. The middle of a gap belongs to the upper one: ties go up.
        place = torch.bucketize(inside.contiguous(), table(edges[:-1]), right=True)
        halves = self.all_halves
        anchor, width = table(anchors)[place], table(widths)[place]
        distance = (inside - anchor) / width
        snap = _shift(table([half.snap for half in halves])[place], self.rho.at(sharpness))
        jump = _shift(table([half.jump for half in halves])[place], self.varrho.at(sharpness))
        way = (distance.abs() - snap).clamp(min=0) / (1 - snap).clamp(min=_TINY)
        climbed = way.clamp(max=1)
        if any(half.bend != 0.5 for half in halves):
            bend = table([half.bend for half in halves])[place]
            climbed = torch.where(
                climbed <= 0.5, 2 * bend * climbed, bend + (1 - bend) * (2 * climbed - 1)
            )
        moved = torch.where(snap >= 1, 0.0, (1 - jump) * climbed)
        return anchor + moved * width * distance.sign()


_TINY = 1e-30
"""Smallest divisor. It avoids a division by zero where the result is not used."""


def _shift(scale: Tensor, amount: Sharpness) -> Tensor:
    """Return the shift as a fraction of the half-gap: 0 where the scale is 0, at most 1."""
    shift = scale * amount
    if isinstance(amount, Tensor) or math.isinf(amount):
        shift = torch.where(scale > 0, shift, 0.0)
    return shift.clamp(max=1).to(scale.dtype)
