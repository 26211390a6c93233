"""The order of trials, by `Block.priority` and by the option ``--first``."""

from collections.abc import Iterable, Sequence

from sweeps.cell import Cell
from sweeps.control.budget import Budget
from sweeps.control.listener import OVER_BUDGET, Ending
from sweeps.selection.axes import axes_of
from sweeps.selection.choice import chosen_places
from sweeps.selection.part_of_sweep import needed_by
from sweeps.spec import SweepSpec

Priority = tuple[int, int]
"""Trials with a higher one are trained earlier: what ``--first`` says, then `Block.priority`."""
USUAL: Priority = (0, 0)
"""That of a trial of which nothing is said."""


def priorities_of(
    sweep: SweepSpec, cells: Iterable[Cell], first: Sequence[str] = ()
) -> dict[str, Priority]:
    """Return the priority of each trial by its fingerprint.

    A trial whose network others need has at least their priority.

    Args:
        sweep: the sweep.
        cells: its trials that are to be trained.
        first: conditions (see `sweeps.selection.conditions`) on the trials to train first; those of
            an earlier text come before those of a later one.

    Raises:
        ConfigurationError: a text is no list of conditions, or no trial fulfils them.
    """
    ranks = dict.fromkeys((cell.fingerprint for cell in sweep.cells), 0)
    axes = [axes_of(cell) for cell in sweep.cells] if first else []
    for place, text in enumerate(first):
        rank = len(first) - place
        for chosen in chosen_places(axes, [text], f"sweep {sweep.name}", option="--first"):
            fingerprint = sweep.cells[chosen].fingerprint
            ranks[fingerprint] = max(ranks[fingerprint], rank)
    of_blocks = {block.label: block.priority for block in sweep.blocks}
    known = {cell.fingerprint: cell for cell in cells}
    found = {
        name: (ranks.get(name, 0), of_blocks.get(cell.block, 0)) for name, cell in known.items()
    }
    rest = list(known.values())
    while rest:
        cell = rest.pop()
        for parent in cell.parents:
            if parent in found and found[parent] < found[cell.fingerprint]:
                found[parent] = found[cell.fingerprint]
                rest.append(known[parent])
    return found


def within_budget(
    sweep: SweepSpec,
    unfinished: Sequence[Cell],
    budget: Budget | None,
    first: Sequence[str] = (),
    *,
    num_failed: int = 0,
) -> list[Cell]:
    """Return the trials to train with a budget of trials: those of the highest priority.

    Commands with the same budget choose the same trials, also one that starts later.

    Args:
        sweep: the sweep.
        unfinished: its trials that are to be trained, as they have not finished.
        budget: what may be spent; None, or a time, for all trials.
        first: see `priorities_of`.
        num_failed: number of its trials that have failed and are not trained again, none of which
            counts as finished.

    Raises:
        ConfigurationError: see `priorities_of`.
    """
    priorities = priorities_of(sweep, unfinished, first)
    if budget is None or budget.trials is None:
        return list(unfinished)
    finished = len(sweep.cells) - len(unfinished) - num_failed
    most = max(0, budget.trials - finished)
    ordered = sorted(
        unfinished,
        key=lambda cell: priorities[cell.fingerprint],
        reverse=True,  # which leaves equal ones in their order
    )
    chosen: dict[str, Cell] = {}
    for cell in ordered:
        needed = [one for one in needed_by([cell], unfinished) if one.fingerprint not in chosen]
        if cell.fingerprint not in chosen and len(chosen) + len(needed) < most:
            chosen |= {one.fingerprint: one for one in (*needed, cell)}
    return [cell for cell in unfinished if cell.fingerprint in chosen]


def trials_spent(budget: Budget, *, left: int) -> Ending:
    """Return the ending of a command with a budget of trials.

    Args:
        budget: the budget.
        left: number of the trials that were not chosen.
    """
    trials = "1 trial is" if left == 1 else f"{left} trials are"
    return Ending(
        OVER_BUDGET,
        f"the budget of {budget} is spent, and {trials} left; to continue, run the same command "
        "with a larger --budget",
    )
