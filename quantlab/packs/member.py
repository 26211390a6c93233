"""StackMember: the parts of a trial that a stack needs, and the order of members in it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from quantlab.canonical import canonical_key
from quantlab.optim.prox_optimizer import ProxOptimizer
from quantlab.recipe import OptimizerSpec
from quantlab.remembering import are_equal
from quantlab.schedules import StepFunction

T = TypeVar("T")


@dataclass(frozen=True)
class StackMember:
    """The parts of a trial that the stack needs."""

    optimizer: ProxOptimizer
    """Optimizer that was built with ``flat=True`` and is at the same step as all other members."""
    spec: OptimizerSpec
    """Settings of the base optimizer."""
    learning_rate: StepFunction
    """Learning rate as a function of the trial's gradient step."""
    random_numbers: Callable[[], AbstractContextManager[object]]
    """Context that sets torch's default generators to the trial's random numbers, for random
    maps."""

    @property
    def kind(self) -> str:
        """Key that is equal for members with equal base optimizers."""
        return canonical_key(self.spec)

    @property
    def averages_in_place(self) -> bool:
        """Whether the iterates that it averages are stored in the stack at every step."""
        return self.optimizer.averaging is not None and self.optimizer.rule.uses_prox

    @property
    def order(self) -> tuple[object, ...]:
        """Keys to sort members by. Adjacent members with equal keys are updated in one call."""
        rule = self.optimizer.rule
        quantizers = tuple(group.quantizer for group in self.optimizer.groups)
        return rule.gradient_at, self.kind, quantizers, self.optimizer.latent_bound, rule


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
