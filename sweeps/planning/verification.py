"""Verification: whether finished trials, their files and their data still belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.planning.data_changes import FinishedData
from sweeps.printing.number_of import number_of
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder, TrialState


@dataclass
class Verified:
    """What a verification has found."""

    num_finished: int = 0
    """Number of finished trials."""
    problems: list[str] = field(default_factory=list)
    """What is wrong, one line each, apart from damaged records, of which reading them warns."""
    notes: list[str] = field(default_factory=list)
    """What could not be compared, one line each."""


def verified(cells: Sequence[Cell], storage: Storage, data_dir: Path) -> Verified:
    """Check finished trials: their records, the digests of networks, and their data.

    Networks of other trials, from which a finished trial started or by which it was taught, are
    checked as well.

    Args:
        cells: the trials of a sweep or a study.
        storage: the storage of the trials.
        data_dir: folder of the datasets.
    """
    found = Verified()
    of_sweep = {cell.fingerprint for cell in cells}
    others: dict[str, str] = {}
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        result = folder.result.read()
        if result is None:
            continue
        found.num_finished += 1
        folder.read_history()
        if result.state is TrialState.COMPLETE:
            found.problems += _problem_of_network(folder, f"trial {cell.name}")
        for parent in set(cell.parents) - of_sweep:
            others.setdefault(parent, f"trial {parent}, whose network {cell.name} needed")
    for fingerprint, name in others.items():
        found.problems += _problem_of_network(storage.trial(fingerprint), name)
    data = FinishedData.of(cells, storage)
    if data.num_unknown:
        found.notes.append(
            f"the data of {number_of(data.num_unknown, 'finished trial')} is not compared, because "
            "an earlier version recorded no hash of it"
        )
    now = data.now(data_dir)
    found.problems += now.problems + data.differences(data_dir, now)
    found.notes += now.notes
    return found


def _problem_of_network(folder: TrialFolder, name: str) -> list[str]:
    """Return a line if the network of a trial is missing or not that of its result."""
    try:
        weights = folder.intact_weights()
    except ConfigurationError as error:
        return [f"{name}: {error}"]
    if weights.exists():
        return []
    return [
        f"{name}: its network {weights} is missing; to train the trial again, remove "
        f"{folder.result.path.name} beside it"
    ]
