"""Knots: monotone piecewise-linear maps with free knots between neighbouring levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import plain
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.constants import constant
from quantlab.quantizers.growth import Growth, Power

_DEFAULT = Power(0.1)


@dataclass(frozen=True)
class Half:
    """The shape of a map from a level to the middle of a gap beside it."""

    snap: float = 1.0
    """Horizontal shift for each unit of rho, >= 0: how far from the level weights become it."""
    jump: float = 1.0
    """Vertical shift for each unit of varrho, >= 0: how far below the middle the map ends."""
    bend: float = 0.5
    """Height, as a share of all that is to be climbed, at half the way; 0.5 is a straight line."""

    def __post_init__(self) -> None:
        for name, most in (("snap", math.inf), ("jump", math.inf), ("bend", 1.0)):
            value = plain(getattr(self, name))
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and 0 <= value <= most):
                allowed = "finite and >= 0" if most == math.inf else "in [0, 1]"
                raise ConfigurationError(f"Half.{name} = {value!r}: must be {allowed}")
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Knots(Quantizer):
    """Between two levels, four knots a half-gap: the level, the end of its snap, a bend, a jump.

    At distance d from its level q, in a half-gap of width h with x = d / h, r = min(1, snap * rho)
    and v = min(1, jump * varrho), an entry comes to the distance ::

        0                          for x <= r, or if r = 1 or v = 1
        h (1 - v) g((x - r) / (1 - r))  beyond, with g(0) = 0, g(1/2) = bend, g(1) = 1 in lines

    rho and varrho follow the sharpness by laws of their own. All shifts are fractions of the
    half-gap. Every setting is nondecreasing, keeps the levels where they are, and has the
    projector as its limit, so that it is a proximal map (ProxConnect paper, Theorem 3.1). A tie at
    the middle goes up; entries outside [q_1, q_b] are clipped.

    L_rho^varrho is the member with straight lines and snap = jump = 1 / h for each half,
    BinaryRelax that with rho = 0 and `Saturating` varrho (within [q_1, q_b]), PARQ's map that with
    varrho = 0, the projector that with rho >= 1.
    """

    rho: Growth = _DEFAULT
    """Law of the horizontal shifts."""
    varrho: Growth = _DEFAULT
    """Law of the vertical shifts."""
    halves: tuple[Half, ...] = (Half(),)
    """One for all; or with b levels, b - 1 from the lowest level to the middle of the set, of which
    the others are the mirror image; or all 2 (b - 1), in the order of the weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rho", "varrho"):
            if not isinstance(getattr(self, name), Growth):
                raise ConfigurationError(
                    f"Knots.{name} = {getattr(self, name)!r}: must be a Growth"
                )
        halves: object = self.halves
        gaps = len(self.levels) - 1
        is_fitting = isinstance(halves, Sequence) and len(halves) in (1, gaps, 2 * gaps)
        if not is_fitting or not all(isinstance(half, Half) for half in self.halves):
            raise ConfigurationError(
                f"Knots.halves = {halves!r}: must be 1, {gaps} or {2 * gaps} times Half for "
                f"{gaps + 1} levels"
            )
        object.__setattr__(self, "halves", tuple(self.halves))
        for half in self.halves:
            horizontally = half.snap and half.snap * self.rho.limit
            vertically = half.jump and half.jump * self.varrho.limit
            if max(horizontally, vertically) < 1:
                raise ConfigurationError(
                    f"Knots with {half}, rho = {self.rho} and varrho = {self.varrho}: neither "
                    "shift comes to the middle in the end, so that the limit is no projector"
                )

    @property
    def all_halves(self) -> tuple[Half, ...]:
        """The 2 (b - 1) halves in the order of the weights."""
        gaps = len(self.levels) - 1
        if len(self.halves) == 2 * gaps:
            return self.halves
        if len(self.halves) == gaps:
            return self.halves + self.halves[::-1]
        return self.halves * (2 * gaps)

    @property
    def formula(self) -> str:
        """With its numbers, a line for each half of a gap, or for each that is no mirror image."""
        lines = [
            "P(w*) = q +- h (1 - v) g((x - r) / (1 - r)), or q where x <= r, r = 1 or v = 1",
            "with q the nearest level, h half the gap, x = |w* - q| / h; g: (0, 0), (1/2, b), "
            "(1, 1) in lines",
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
            lines = [*lines[: 3 + len(self.halves)], "the other halves are their mirror image"]
        return "\n".join(lines)

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """The map of the class."""
        inside = latent.detach().clamp(self.levels[0], self.levels[-1])

        def table(values: Sequence[float]) -> Tensor:
            return constant(tuple(values), inside.dtype, inside.device)

        edges, anchors, widths = [], [], []
        for low, high in pairwise(self.levels):
            middle = (low + high) / 2
            edges += [middle, high]
            anchors += [low, high]
            widths += [(high - low) / 2] * 2
        # Of each entry its half: a middle belongs to the upper one, so that ties go up.
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
"""Instead of a division by zero, where the result is not used."""


def _shift(scale: Tensor, amount: Sharpness) -> Tensor:
    """A share of the half-gap; 0 where the scale is 0, also of an infinite amount."""
    shift = scale * amount
    if isinstance(amount, Tensor) or math.isinf(amount):
        shift = torch.where(scale > 0, shift, 0.0)
    return shift.clamp(max=1).to(scale.dtype)
