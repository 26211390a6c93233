"""Looks: after how many seeds a question is looked at, and what each look may spend of its errors.

Whoever looks at the same question again and again, and stops at the first answer, is wrong more
often than the error rate of each look says. So all looks at a question share one error rate: look
number r (counted from 0) has the share (1 - `KEPT`) `KEPT`^r of it. The shares add up to 1, so that
the probability of an error at any look is at most the whole rate, whatever the number of looks and
whatever makes somebody stop (Bonferroni's inequality; an error-spending function in the sense of
Lan and DeMets, Biometrika 70, 1983, which needs no largest number of looks). The intervals of all
looks together are a confidence sequence.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

ERROR_RATE = 0.05
"""Probability of a wrong answer to a question, at all looks together."""
KEPT = 0.6
"""Share of the remaining error rate that each look leaves to the later ones."""
GROWTH = 1.5
"""Factor by which the number of seeds grows from look to look, rounded up."""
FEWEST_SEEDS = 2
"""Seeds that the first look needs at least, since one seed has no spread."""


@dataclass(frozen=True)
class Look:
    """A look at a question."""

    seeds: int
    """Number of seeds that the look uses."""
    error_rate: float
    """Probability that its interval does not hold the truth."""


def looks(first: int, most: int | None = None) -> Iterator[Look]:
    """The looks at a question; they depend on nothing but the number of its first seeds.

    Args:
        first: number of the seeds that the sweep has without further ones.
        most: largest number of seeds; None for no limit.
    """
    found = _without_end(max(first, FEWEST_SEEDS))
    return found if most is None else takewhile(lambda look: look.seeds <= most, found)


def last_seeds(first: int, most: int) -> int:
    """Number of seeds of the last look that has no more than the largest number; 0 without any.

    Args:
        first: see `looks`.
        most: see `looks`.
    """
    return max((look.seeds for look in looks(first, most)), default=0)


def _without_end(seeds: int) -> Iterator[Look]:
    rate = (1 - KEPT) * ERROR_RATE
    while True:
        yield Look(seeds, rate)
        seeds, rate = math.ceil(GROWTH * seeds), KEPT * rate


def unseen_share(seeds: int) -> float:
    """Largest share of all seeds that may collapse although none of these has.

    It is the upper limit of Clopper and Pearson (Biometrika 26, 1934) for none of the seeds, at the
    level 1 - `ERROR_RATE`.

    Args:
        seeds: how many have not collapsed, at least 1.
    """
    return float(1 - ERROR_RATE ** (1 / seeds))
