"""The states of the trials of a sweep, which determine those to train, and reasons of failures."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from quantlab import ConfigurationError
from sweeps.spec import Cell
from sweeps.storage.damage import warn_of_damage
from sweeps.storage.folder import Storage, TrialFolder, TrialState


def states_of(cells: Sequence[Cell], storage: Storage) -> dict[str, TrialState]:
    """Return the state of each trial by its fingerprint.

    A COMPLETE trial counts as INTERRUPTED, and is trained again, if an unfinished trial needs its
    network, to start from it or as its teacher, and the network is missing or damaged.
    """
    states = {cell.fingerprint: storage.trial(cell.fingerprint).state() for cell in cells}
    parents = {cell.fingerprint: cell.parents for cell in cells}
    unfinished = [cell for cell in cells if not states[cell.fingerprint].is_finished]
    needed = [parent for cell in unfinished for parent in cell.parents]
    looked_at: set[str] = set()
    while needed:
        fingerprint = needed.pop()
        if fingerprint in looked_at:
            continue
        looked_at.add(fingerprint)
        if states.get(fingerprint) is TrialState.COMPLETE:
            if _has_network(storage.trial(fingerprint)):
                continue
            states[fingerprint] = TrialState.INTERRUPTED
            needed += parents[fingerprint]
    return states


def failures_of(cells: Iterable[Cell], storage: Storage) -> dict[str, list[Cell]]:
    """Return the failed trials by the reason."""
    failed: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        # Of a trial without this file, the state is not read once more.
        if folder.failure.exists() and folder.state() is TrialState.FAILED:
            failure = folder.failure.read()
            reason = "the reason is unknown" if failure is None else failure.error
            failed[reason].append(cell)
    return failed


def _has_network(folder: TrialFolder) -> bool:
    try:
        if folder.intact_weights().exists():
            return True
        damage = "is missing"
    except ConfigurationError:
        damage = "is damaged, or belongs to another trial"
    warn_of_damage(
        folder.weights,
        damage,
        "`sweeps run` trains the trial again, because other trials need its network",
    )
    return False
