"""Sequential: several schedules, one after another."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import plain, require_items
from quantlab.schedules.base import Schedule
from quantlab.schedules.constant import constant_or


@dataclass(frozen=True)
class Sequential(Schedule):
    """Several schedules, each of which counts its steps from its own beginning.

    Five epochs of linear warm-up from 0, and then a linear decay to 0 in 95 epochs, are::

        Sequential((Ramp(0.1, start=0, end=5), Polynomial(0.1, epochs=95)), milestones=(5,))

    With torch's schedulers it is `SequentialLR`.
    """

    schedules: tuple[Schedule, ...]
    """The schedules, at least one. A number is a constant."""
    milestones: tuple[int, ...]
    """Epochs, counted from 0 and increasing, at whose first step the second schedule begins, the
    third, and so on."""

    def __post_init__(self) -> None:
        if isinstance(self.schedules, list | tuple):
            known = [(each, constant_or(each)) for each in self.schedules]
            schedules = tuple(each if schedule is None else schedule for each, schedule in known)
            object.__setattr__(self, "schedules", schedules)
        require_items(self, "schedules", Schedule, "a sequence of schedules and numbers >= 0")
        object.__setattr__(self, "milestones", plain(self.milestones))
        require_items(self, "milestones", int, "a sequence of whole numbers")
        if not self.schedules:
            raise ConfigurationError("Sequential.schedules = (): must have at least one schedule")
        wanted = len(self.schedules) - 1
        rising = all(low < high for low, high in pairwise((0, *self.milestones)))
        if len(self.milestones) != wanted or not rising:
            raise ConfigurationError(
                f"Sequential.milestones = {brief(self.milestones)}: must be {wanted} increasing "
                f"epochs >= 1, one less than the {len(self.schedules)} schedules"
            )

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of the schedule whose turn it is."""
        place = bisect_right(self.milestones, step // steps_per_epoch)
        begin = (0, *self.milestones)[place] * steps_per_epoch
        return self.schedules[place].at(step - begin, steps_per_epoch)

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum over the schedules."""
        return sum(
            schedule.cumulative(steps, steps_per_epoch)
            for schedule, steps in self._parts(step, steps_per_epoch)
        )

    def _parts(self, step: int, steps_per_epoch: int) -> Iterator[tuple[Schedule, int]]:
        """Yield each schedule with the number of its steps before `step`."""
        edges = [*(epoch * steps_per_epoch for epoch in (0, *self.milestones)), step]
        for place, schedule in enumerate(self.schedules):
            end = min(edges[place + 1], step) if place + 1 < len(self.schedules) else step
            yield schedule, max(end - edges[place], 0)
