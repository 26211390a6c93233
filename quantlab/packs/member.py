"""StackMember: the parts of a trial that a stack needs, and the order of members in it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from quantlab.canonical import canonical_key
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.recipe import OptimizerSpec
from quantlab.remembering import are_equal
from quantlab.schedules import Schedule, StepFunction

T = TypeVar("T")


@dataclass(frozen=True)
class StackMember:
    """The parts of a trial that the stack needs."""

    optimizer: LatentOptimizer
    """Optimizer that was built with ``flat=True`` and is at the same step as all other members."""
    spec: OptimizerSpec
    """Settings of the base optimizer."""
    step_scale: Schedule | None
    """Scale of the latents' steps; None for 1."""
    learning_rate: StepFunction
    """Learning rate as a function of the trial's gradient step."""
    random_numbers: Callable[[], AbstractContextManager[object]]
    """Context that sets torch's default generators to the trial's random numbers, for random
    maps."""

    @property
    def kind(self) -> str:
        """Key that is equal for members with equal base optimizers and step scales."""
        return canonical_key((self.spec, self.step_scale))

    @property
    def averages_in_place(self) -> bool:
        """Whether the iterates that it averages are stored in the stack at every step."""
        return self.optimizer.averaging is not None and self.optimizer.uses_prox

    @property
    def order(self) -> tuple[object, ...]:
        """Keys to sort members by. Adjacent members with equal keys are updated in one call."""
        optimizer = self.optimizer
        maps = tuple(group.map for group in optimizer.groups)
        return (
            optimizer.rule.gradient_at,
            self.kind,
            maps,
            optimizer.backward,
            optimizer.latent_bound,
            self.pull_kind,
        )

    @property
    def pull_kind(self) -> float | None:
        """The pull if it is 0 or 1; None for any other number or function."""
        pull = self.optimizer.pull
        return pull if pull in (0.0, 1.0) else None


def neighbours(members: Sequence[T], order: Callable[[T], Sequence[object]]) -> list[int]:
    """Return an order of the members in which members with equal keys are adjacent.

    Args:
        members: members of a stack.
        order: returns the keys of a member, the most important one first.

    Returns:
        Positions of the members.
    """
    columns = zip(*map(order, members), strict=True)
    keys = list(zip(*map(_ranks, columns), strict=True))
    return sorted(range(len(members)), key=lambda position: keys[position])


def _ranks(values: Sequence[object]) -> list[int]:
    """Return for each value the position of the first equal one. Values need not be hashable."""
    return [
        next(place for place, first in enumerate(values) if are_equal(first, value))
        for value in values
    ]


def runs(keys: Iterable[object]) -> list[slice]:
    """Return slices of adjacent equal keys."""
    found, start = [], 0
    for _, equal in groupby(keys):
        stop = start + len(list(equal))
        found.append(slice(start, stop))
        start = stop
    return found
