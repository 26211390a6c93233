"""How long the trials of a sweep take that have not ended, from those that have."""

import math
from collections import defaultdict
from collections.abc import Sequence

from sweeps.storage.records import Attempt, TrialState
from sweeps.watching.storage_reader import TrialView

_LEFT = (TrialState.WAITING, TrialState.RUNNING, TrialState.INTERRUPTED)


def time_left(views: Sequence[TrialView]) -> float:
    """Estimate the time until all trials have ended, in seconds.

    An epoch takes as long as on average in the trials of its block that have ended or, without one,
    in those of all blocks. As many trials run at once as now. Before any trial has ended, the last
    epochs of those that run tell how long an epoch takes.

    Args:
        views: all trials of the sweep.

    Returns:
        The time; 0 if nothing is left, and NaN if no trial runs or nothing is known yet.
    """
    left = [view for view in views if view.state in _LEFT]
    if not left:
        return 0.0
    at_once = sum(view.state is TrialState.RUNNING for view in left)
    if not at_once:
        return math.nan
    known: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for view in views:
        if view.result is not None and view.attempts and view.epochs:
            seconds = sum(map(_kept_seconds, view.attempts))
            known[view.cell.block].append((seconds, view.epochs))
    every = [pair for pairs in known.values() for pair in pairs]
    if not every:
        every = [
            (view.epoch.seconds * (view.attempts[-1].pack if view.attempts else 1), 1)
            for view in left
            if view.epoch is not None and view.state is TrialState.RUNNING
        ]
    if not every:
        return math.nan
    needed = [
        (view.all_epochs - view.epochs) * _per_epoch(known.get(view.cell.block) or every)
        for view in left
    ]
    return max(sum(needed) / at_once, max(needed))


def _kept_seconds(attempt: Attempt) -> float:
    """Return how long an attempt took for what did not have to be trained again."""
    share = attempt.lost_seconds / attempt.slot_seconds if attempt.slot_seconds else 0.0
    return attempt.seconds * (1 - share)


def _per_epoch(pairs: Sequence[tuple[float, int]]) -> float:
    return sum(seconds for seconds, _ in pairs) / sum(epochs for _, epochs in pairs)
