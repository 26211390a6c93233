"""StorageReader: the progress of a sweep, read again and again from the folders of its trials.

A look reads what may have changed since the last one: one listing of the folder of all trials, and
the files of the trials that run or have just ended. So it stays cheap for thousands of trials on a
network file system, and needs neither Ray nor MLflow.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sweeps.spec import Cell
from sweeps.spending.attempts import attempts_of
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import Attempt, Epoch, Result, Running, TrialState
from sweeps.watching.last_epoch import last_epoch

READERS = 8
"""Number of files that are read at the same time, because a network file system is slow to answer
and not slow to read."""

_AT_ONCE = 64
"""Number of trials up to which one thread reads them."""

MOST_OF_THE_TIME = 0.1
"""Maximum share of the time that looks take."""


@dataclass(frozen=True)
class TrialView:
    """What a look has found of a trial."""

    cell: Cell
    state: TrialState = TrialState.WAITING
    result: Result | None = None
    """Its result; None without one."""
    failure: str = ""
    """Why its last attempt has failed; empty if it has not."""
    running: Running | None = None
    """The command that trains it now; None if none does or it is unknown."""
    epoch: Epoch | None = None
    """Its last finished epoch; None unless it has begun and not finished."""
    attempts: Sequence[Attempt] = ()
    """The attempts to train it so far."""

    @property
    def has_ended(self) -> bool:
        """Whether it has a result, or a study has pruned it."""
        return self.state.is_finished or self.state is TrialState.STOPPED

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        if self.result is not None:
            return self.result.epochs
        return 0 if self.epoch is None else self.epoch.epoch

    @property
    def all_epochs(self) -> int:
        """Number of epochs that its recipe has."""
        recipe = self.cell.recipe
        return recipe.epochs + recipe.batchnorm_epochs


class StorageReader:
    """Reads the trials of a sweep from a storage, each time what may have changed."""

    def __init__(self, storage: Storage) -> None:
        """Read nothing yet.

        Args:
            storage: the storage of the trials, in which nothing is written.
        """
        self.storage = storage
        self.num_read = 0
        """Number of trials that the look in progress has read so far."""
        self.seconds = 0.0
        """How long the last look took, in seconds."""
        self._ended: dict[str, tuple[int, TrialView]] = {}
        """Fingerprint -> when the folder of an ended trial was changed last, and its view."""

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next look at least, so that a slow storage is left alone."""
        return self.seconds / MOST_OF_THE_TIME

    def look(self, cells: Sequence[Cell]) -> list[TrialView]:
        """Return what there is of each trial now, in the order of the trials.

        Raises:
            ConfigurationError: a later version of this program wrote a record.
            OSError: a file cannot be read now.
        """
        began = time.monotonic()
        self.num_read = 0
        changed = self._changes({cell.fingerprint for cell in cells})
        views = {cell.fingerprint: TrialView(cell) for cell in cells}
        to_read = []
        for cell in cells:
            name = cell.fingerprint
            when, view = self._ended.get(name, (None, None))
            if name not in changed:
                self._ended.pop(name, None)
            elif view is not None and when == changed[name]:
                views[name] = view
            else:
                to_read.append(cell)
        for view in self._in_parallel(to_read, self._read):
            name = view.cell.fingerprint
            views[name] = view
            if view.state in (TrialState.WAITING, TrialState.RUNNING, TrialState.INTERRUPTED):
                self._ended.pop(name, None)
            else:
                self._ended[name] = changed[name], view
        self.seconds = time.monotonic() - began
        return list(views.values())

    def _changes(self, names: set[str]) -> Mapping[str, int]:
        """Return when the folder of each trial was changed last; those without one are missing."""
        try:
            with os.scandir(self.storage.root / "trials") as entries:
                found = [entry for entry in entries if entry.name in names]
            return {entry.name: entry.stat().st_mtime_ns for entry in found}
        except FileNotFoundError:  # nothing was trained, or somebody removes trials
            return {}

    def _in_parallel(
        self, cells: Sequence[Cell], read: Callable[[Cell], TrialView]
    ) -> Iterable[TrialView]:
        if len(cells) <= _AT_ONCE:
            return map(read, cells)
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(read, cells, chunksize=1))

    def _read(self, cell: Cell) -> TrialView:
        folder = self.storage.trial(cell.fingerprint)
        self.num_read += 1
        result = folder.result.read()
        attempts = attempts_of(folder, result)
        if result is not None:
            return TrialView(cell, result.state, result, attempts=attempts)
        state = folder.state()
        is_begun = state in (TrialState.RUNNING, TrialState.INTERRUPTED)
        return TrialView(
            cell,
            state,
            failure=_reason(folder) if state is TrialState.FAILED else "",
            running=folder.running.read() if state is TrialState.RUNNING else None,
            epoch=last_epoch(folder) if is_begun else None,
            attempts=attempts,
        )


def _reason(folder: TrialFolder) -> str:
    failure = folder.failure.read()
    return "the reason is unknown" if failure is None else failure.error
