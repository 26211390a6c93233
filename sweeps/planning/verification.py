"""Verification: whether finished trials, their files and their data still belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.planning.data_changes import FinishedData
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState


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
    """Check finished trials: their records, the digest of their networks, and their data.

    Args:
        cells: the trials of a sweep or a study.
        storage: the storage of the trials.
        data_dir: folder of the datasets.
    """
    found = Verified()
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        result = folder.result.read()
        if result is None:
            continue
        found.num_finished += 1
        folder.read_history()
        if result.state is not TrialState.COMPLETE:
            continue
        try:
            weights = folder.intact_weights()
        except ConfigurationError as error:
            found.problems.append(f"trial {cell.name}: {error}")
            continue
        if not weights.exists():
            found.problems.append(
                f"trial {cell.name}: its network {weights} is missing; to train the trial again, "
                f"remove {folder.result.path.name} beside it"
            )
    data = FinishedData.of(cells, storage)
    if data.num_unknown:
        found.notes.append(
            f"{data.num_unknown} finished trials have no hash of their data, which an earlier "
            "version did not record; their data is not compared"
        )
    now = data.now(data_dir)
    found.problems += now.problems + data.differences(data_dir, now)
    found.notes += now.notes
    return found
