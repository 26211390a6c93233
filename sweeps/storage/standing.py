"""How far each trial of a sweep is, and so what there is to train."""

from collections.abc import Sequence

from quantlab import ConfigurationError
from sweeps.spec import Cell
from sweeps.storage.damage import tell
from sweeps.storage.folder import Storage, TrialFolder, TrialState


def states_of(cells: Sequence[Cell], storage: Storage) -> dict[str, TrialState]:
    """Fingerprint -> state.

    A COMPLETE trial counts as INTERRUPTED, and so is trained again, if an unfinished one starts
    from its network, and that is lost or damaged.
    """
    states = {cell.fingerprint: storage.trial(cell.fingerprint).state() for cell in cells}
    parents = {cell.fingerprint: cell.parent for cell in cells}
    needed = [cell.parent for cell in cells if not states[cell.fingerprint].is_finished]
    looked_at: set[str] = set()
    while needed:
        fingerprint = needed.pop()
        if fingerprint is None or fingerprint in looked_at:
            continue
        looked_at.add(fingerprint)
        if states.get(fingerprint) is TrialState.COMPLETE:
            if _has_network(storage.trial(fingerprint)):
                continue
            states[fingerprint] = TrialState.INTERRUPTED
            needed.append(parents[fingerprint])
    return states


def _has_network(folder: TrialFolder) -> bool:
    try:
        if folder.intact_weights().exists():
            return True
        what = "is not there"
    except ConfigurationError:
        what = "damaged, or another trial's"
    tell(folder.weights, what, "`sweeps run` trains the trial again, which others start from")
    return False
