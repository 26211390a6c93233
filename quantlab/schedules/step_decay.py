"""StepDecay: a value that is multiplied by a factor at milestones, which are epochs."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import plain
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A value that is multiplied by `factor` at each of the milestones.

    The learning-rate schedules of the ProxConnect paper are of this form: B.1.3 (milestones 100 and
    150), B.1.4 (81 and 122), B.6 (15 and 30) and B.7 (30 and 60), all with factor 0.1.
    """

    value: float
    milestones: tuple[int, ...]
    """Epochs, counted from 0, at whose first step the value is multiplied by `factor`."""
    factor: float = 0.1

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        set_nonnegative(self, "factor")
        object.__setattr__(self, "milestones", _milestones(self.milestones))

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the decayed value, which is constant within an epoch."""
        passed = bisect_right(self.milestones, step // steps_per_epoch)
        return self.value * self.factor**passed

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the values before `step`, computed from the constant pieces."""
        starts = [0, *(epoch * steps_per_epoch for epoch in self.milestones if epoch > 0)]
        edges = [start for start in starts if start < step] + [step]
        return math.fsum(
            self.at(begin, steps_per_epoch) * (end - begin) for begin, end in pairwise(edges)
        )


def _milestones(values: Iterable[int] | int) -> tuple[int, ...]:
    is_sequence = isinstance(values, Iterable)
    milestones = plain(tuple(values)) if isinstance(values, Iterable) else (values,)
    whole = is_sequence and all(type(epoch) is int and epoch >= 0 for epoch in milestones)
    if not whole or any(low >= high for low, high in pairwise(milestones)):
        raise ConfigurationError(
            f"StepDecay.milestones = {brief(milestones)}: must be whole numbers >= 0 in increasing "
            "order"
        )
    return milestones
