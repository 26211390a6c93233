"""Lines about the questions of a sweep that is run until they are decided."""

from collections.abc import Sequence

from analysis.deciding.decisions import Decision
from sweeps.deciding.round import Round
from sweeps.printing.number_of import number_of

_NAMED = 3


NO_QUESTION = "has no question: no method with several ρ0, and no two methods on a set"
"""What is said of a sweep that asks nothing."""


def round_line(found: Round, most: int) -> str:
    """Return a line on what is decided, and on the trials of the next round.

    Args:
        found: the round.
        most: largest number of seeds of a question.
    """
    name, questions = found.sweep.name, found.decisions
    if not questions:
        return f"{name}: {NO_QUESTION}"
    done = f"{name}: {len(questions) - len(found.open)} of {len(questions)} questions are decided"
    if not found.open:
        return done
    if found.order:
        trials = number_of(len(found.order), "trial")
        return f"{done}; the next round has {trials}: {named(found.waiting(most))}"
    return f"{done}; open after up to {most} seeds: {named(found.open)}"


def named(questions: Sequence[Decision]) -> str:
    """Name questions; how many others there are if they are many."""
    names = [one.about for one in questions[:_NAMED]]
    more = len(questions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
