"""Thresholded: a placement with thresholds of its own between the levels of a row."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.scales.placement import Placement, Table, between


@dataclass(frozen=True)
class Thresholded(Placement):
    """A piecewise linear function that carries levels to levels, and thresholds to middles.

    The projection changes from a level of the row to the next one at the threshold between them,
    which need not be the middle of the two. `leave` is the inverse of `enter`, so that a map close
    to the identity is close to the identity in the row, too.
    """

    row_levels: Tensor
    """(..., number of levels), strictly increasing."""
    thresholds: Tensor
    """(..., number of levels - 1), each strictly between the two levels around it."""
    set: tuple[float, ...]
    """The set, strictly increasing."""

    @property
    def is_inverse(self) -> bool:
        """Always true."""
        return True

    def enter(self, weights: Tensor) -> Tensor:
        """Return weights in the coordinates of the set."""
        return self._table().enter(weights)

    def leave(self, unit: Tensor) -> Tensor:
        """Return the weights at coordinates of the set. A level is exact to the last bit."""
        return self._table().leave(unit)

    def enter_slope(self, weights: Tensor) -> Tensor:
        """Return the slope of the piece that each weight is in."""
        return self._table().enter_slope(weights)

    def leave_slope(self, unit: Tensor) -> Tensor:
        """Return the slope of the piece that each coordinate is in."""
        return self._table().leave_slope(unit)

    def nearest(self, weights: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return the level of the row between whose thresholds each weight is; a tie goes up."""
        return between(weights, self.thresholds, self.row_levels)

    def _table(self) -> Table:
        """Return the function through all levels and thresholds."""
        knots = [self.row_levels[..., :1]]
        unit = list(self.set[:1])
        uppers = self.row_levels[..., 1:].split(1, dim=-1)
        thresholds = self.thresholds.split(1, dim=-1)
        for (low, high), threshold, upper in zip(
            pairwise(self.set), thresholds, uppers, strict=True
        ):
            knots += [threshold, upper]
            unit += [(low + high) / 2, high]
        return Table(torch.cat(knots, dim=-1), tuple(unit))

    def _of_rows(self) -> Tensor:
        return self.row_levels
