"""Placements: increasing functions that carry a quantization set to the levels of a row."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.quantization_sets import nearest_level

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

    def levels(self, levels: tuple[float, ...]) -> Tensor:
        """Return the levels of each row, (..., number of levels), increasing.

        Args:
            levels: the set.
        """
        some = self._of_rows()
        unit = torch.tensor(levels, dtype=some.dtype, device=some.device)
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
        return unit * self.leave_slope(unit)

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
        nearest = self.row_levels[..., :1].expand_as(weights)
        for low, high in pairwise(self.row_levels.split(1, dim=-1)):
            nearest = torch.where(weights < low + (high - low) / 2, nearest, high)
        return torch.where(weights.isnan(), weights, nearest)

    def _set_of_rows(self) -> Tensor:
        levels = torch.tensor(self.set, dtype=self.row_levels.dtype, device=self.row_levels.device)
        return levels.expand_as(self.row_levels)

    def _of_rows(self) -> Tensor:
        return self.row_levels


def _pieces(points: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return both ends of the piece that each point is in, before and after it is carried."""
    piece = torch.zeros_like(points, dtype=torch.int64)
    for interior in range(1, start.shape[-1] - 1):
        piece += points >= start[..., interior : interior + 1]
    return (
        start[..., :-1].gather(-1, piece),
        start[..., 1:].gather(-1, piece),
        end[..., :-1].gather(-1, piece),
        end[..., 1:].gather(-1, piece),
    )


def _carried(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    low, high, new_low, new_high = _pieces(points, start, end)
    # `lerp` is exact at both ends, so that a level is carried to a level.
    return torch.lerp(new_low, new_high, (points - low) / (high - low))


def _slope(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    low, high, new_low, new_high = _pieces(points, start, end)
    return (new_high - new_low) / (high - low)
