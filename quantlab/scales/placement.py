"""Placements: increasing functions that carry a quantization set to the levels of a row."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.quantization_sets import constant, nearest_level

SMALLEST = 1e-8
"""Smallest scale. It takes the place of the scale of a row of zeros."""


@dataclass(frozen=True)
class Placement(ABC):
    """Where the levels of a set stand in rows of weights.

    `enter` takes weights to the coordinates of the set, in which its levels are those of the
    quantizer, and `leave` takes images of the quantizer back. Both are increasing. Weights have the
    shape (..., k), where the last axis is a row; tensors of a placement have 1 or the number of
    levels in its place.
    """

    @abstractmethod
    def enter(self, weights: Tensor) -> Tensor:
        """Return weights in the coordinates of the set."""

    @abstractmethod
    def leave(self, unit: Tensor) -> Tensor:
        """Return the weights at coordinates of the set."""

    @abstractmethod
    def enter_slope(self, weights: Tensor) -> Tensor:
        """Return the derivative of `enter`; it must broadcast against `weights`."""

    @abstractmethod
    def leave_slope(self, unit: Tensor) -> Tensor:
        """Return the derivative of `leave`; it must broadcast against `unit`."""

    @property
    def keeps_middles(self) -> bool:
        """Whether rows have the set's proportions between any two adjacent levels.

        It is true if both functions are linear between adjacent levels.
        """
        return False

    @property
    def is_inverse(self) -> bool:
        """Whether `leave` is the inverse of `enter`, so that the identity stays the identity."""
        return False

    def levels(self, levels: tuple[float, ...]) -> Tensor:
        """Return the levels of each row, (..., number of levels), increasing.

        Args:
            levels: the set.
        """
        some = self._of_rows()
        unit = constant(levels, some.dtype, some.device)
        return self.leave(unit.expand(*some.shape[:-1], len(levels)))

    def nearest(self, weights: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return the level of the row for every weight: ``leave(P_Q(enter(weights)))``.

        Args:
            weights: (..., k).
            levels: the set.
        """
        return self.leave(nearest_level(self.enter(weights), levels))

    @abstractmethod
    def _of_rows(self) -> Tensor:
        """Return any tensor of the placement."""


@dataclass(frozen=True)
class Proportional(Placement):
    """u = w* / divisor and w = factor * P(u). With equal numbers, s P(w* / s)."""

    divisor: Tensor
    """(..., 1), positive. Half of it is the threshold between 0 and 1."""
    factor: Tensor
    """(..., 1), positive. It is the level of 1."""

    @property
    def keeps_middles(self) -> bool:
        """Whether both numbers are the same."""
        return self.divisor is self.factor

    @property
    def is_inverse(self) -> bool:
        """Whether both numbers are the same."""
        return self.divisor is self.factor

    def enter(self, weights: Tensor) -> Tensor:
        """Return weights / divisor."""
        return weights / self.divisor

    def leave(self, unit: Tensor) -> Tensor:
        """Return factor * unit."""
        return unit * self.factor

    def enter_slope(self, weights: Tensor) -> Tensor:
        """Return 1 / divisor."""
        return 1 / self.divisor

    def leave_slope(self, unit: Tensor) -> Tensor:
        """Return the factor."""
        return self.factor

    def _of_rows(self) -> Tensor:
        return self.factor


@dataclass(frozen=True)
class TwoSided(Placement):
    """u = w* / divisor, and w = positive * P(u) above 0 and negative * P(u) below."""

    divisor: Tensor
    """(..., 1), positive."""
    negative: Tensor
    """(..., 1), positive. -1 stands at -negative."""
    positive: Tensor
    """(..., 1), positive. 1 stands at positive."""

    def enter(self, weights: Tensor) -> Tensor:
        """Return weights / divisor."""
        return weights / self.divisor

    def leave(self, unit: Tensor) -> Tensor:
        """Return unit times the factor of its side."""
        return unit.clamp(max=0) * self.negative + unit.clamp(min=0) * self.positive

    def enter_slope(self, weights: Tensor) -> Tensor:
        """Return 1 / divisor."""
        return 1 / self.divisor

    def leave_slope(self, unit: Tensor) -> Tensor:
        """Return the factor of each side."""
        return torch.where(unit < 0, self.negative, self.positive)

    def _of_rows(self) -> Tensor:
        return self.positive


@dataclass(frozen=True)
class Table(Placement):
    """A piecewise linear function that carries each level of the set to one of the row.

    Outside the levels, the outermost pieces continue. The middles of the set's gaps are carried to
    those of the row's.
    """

    row_levels: Tensor
    """(..., number of levels), strictly increasing."""
    set: tuple[float, ...]
    """The set, strictly increasing."""

    @property
    def keeps_middles(self) -> bool:
        """Always true."""
        return True

    @property
    def is_inverse(self) -> bool:
        """Always true."""
        return True

    def levels(self, levels: tuple[float, ...]) -> Tensor:
        """Return the levels of each row."""
        return self.row_levels if levels == self.set else super().levels(levels)

    def enter(self, weights: Tensor) -> Tensor:
        """Return weights in the coordinates of the set."""
        return _carried(weights, self.row_levels, self._set_of_rows())

    def leave(self, unit: Tensor) -> Tensor:
        """Return the weights at coordinates of the set. A level is exact to the last bit."""
        return _carried(unit, self._set_of_rows(), self.row_levels)

    def enter_slope(self, weights: Tensor) -> Tensor:
        """Return the slope of the piece that each weight is in."""
        return _slope(weights, self.row_levels, self._set_of_rows())

    def leave_slope(self, unit: Tensor) -> Tensor:
        """Return the slope of the piece that each coordinate is in."""
        return _slope(unit, self._set_of_rows(), self.row_levels)

    def nearest(self, weights: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return the nearest level of the row; a tie goes up, and NaN stays NaN."""
        low, high = self.row_levels[..., :-1], self.row_levels[..., 1:]
        return between(weights, low + (high - low) / 2, self.row_levels)

    def _set_of_rows(self) -> Tensor:
        return constant(self.set, self.row_levels.dtype, self.row_levels.device)

    def _of_rows(self) -> Tensor:
        return self.row_levels


def between(weights: Tensor, thresholds: Tensor, row_levels: Tensor) -> Tensor:
    """Return the level between whose thresholds each weight is.

    Args:
        weights: (..., k).
        thresholds: (..., number of levels - 1), increasing.
        row_levels: (..., number of levels), increasing.

    Returns:
        Levels (..., k), to the last bit and without a gradient. A weight at a threshold gets the
        upper level, and NaN stays NaN.
    """
    # Exactly one of the summands is not zero, so that the sum is a level to the last bit. It takes
    # a quarter of the time of `torch.where`. Clamping leaves only whether a weight is NaN.
    weights = weights.detach()
    found = weights.clamp(0, 0)
    above, reached = torch.ones_like(found), torch.empty_like(found)
    for place in range(row_levels.shape[-1] - 1):
        own = slice(place, place + 1)
        torch.ge(weights, thresholds[..., own], out=reached)
        found.addcmul_(above.sub_(reached), row_levels[..., own])
        above, reached = reached, above
    return found.addcmul_(above, row_levels[..., -1:])


def steeper(weights: Tensor, row_levels: Tensor, inverse_slope: float | Tensor) -> Tensor:
    """Steepen the identity around the middle of each gap, and clip it to the ends of the gap.

    With the middle c of the gap and the inverse slope s, the image of w is clamp(c + (w - c) / s).

    Args:
        weights: (..., k).
        row_levels: (..., number of levels), increasing.
        inverse_slope: s > 0, up to 1. A tensor, which may be 0, must broadcast against `weights`.

    Returns:
        The images. Weights beyond the levels become the outermost ones; s = 0 gives the nearest
        level, where a tie goes up.
    """
    weights = weights.detach()
    low, high = row_levels[..., :-1], row_levels[..., 1:]
    middles = low + (high - low) / 2
    is_hard: Tensor | None = None
    if isinstance(inverse_slope, Tensor):
        is_hard = inverse_slope <= 0
        inverse_slope = inverse_slope.to(weights.dtype).clamp(min=_LEAST_SLOPE)
    # All lines (w - c) / s + c have the same slope, and each is below those of the gaps before it.
    scaled, offsets = weights / inverse_slope, middles * (1 - 1 / inverse_slope)
    image = row_levels[..., :1]
    for place in range(row_levels.shape[-1] - 1):
        own = slice(place, place + 1)
        line = scaled + offsets[..., own]
        torch.maximum(line, image, out=line)
        image = torch.minimum(line, high[..., own], out=line)
    if is_hard is not None:
        image = torch.where(is_hard, between(weights, middles, row_levels), image)
    return image


_LEAST_SLOPE = 1e-20
"""Smallest inverse slope that is not 0, so that no number overflows."""


def _carried(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Carry points from knots to knots, linearly between them and beyond the outermost ones."""
    num_pieces = start.shape[-1] - 1
    image = end[..., :1]
    for place in range(num_pieces):
        low, high = start[..., place : place + 1], start[..., place + 1 : place + 2]
        share = (points - low) / (high - low)
        if place > 0:
            share = share.clamp(min=0)
        if place < num_pieces - 1:
            share = share.clamp(max=1)
        # `lerp` is exact at both ends, so that a knot is carried to a knot.
        image = torch.lerp(image, end[..., place + 1 : place + 2], share)
    return image


def _slope(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the slope of the piece that each point is in."""
    slopes = end.diff(dim=-1) / start.diff(dim=-1)
    return between(points, start[..., 1:-1], slopes)
