"""Write finished trials to an archive while others are trained, in a thread of the driver."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sweeps.archive.archive import Archive
from sweeps.archive.place import ArchiveError
from sweeps.archive.taking import missing_in
from sweeps.printing.number_of import number_of
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.tracking.delivery import Delivery


class Upload:
    """Writes trials to an archive, for a `Delivery`."""

    def __init__(self, archive: Archive, storage: Storage) -> None:
        """Write nothing yet.

        Args:
            archive: the archive.
            storage: the storage of the trials.
        """
        self._archive = archive
        self._storage = storage
        self._done: set[str] = set()
        """Fingerprints of the trials that the archive is known to have."""
        self._told = threading.Event()

    def outdated(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the finished trials that the archive does not have.

        Raises:
            ArchiveError: the archive does not answer.
        """
        finished = [cell for cell in cells if self._folder(cell).result.exists()]
        missing = missing_in(finished, self._storage, self._archive.objects())
        self._done = {cell.fingerprint for cell in finished} - {
            cell.fingerprint for cell in missing
        }
        return missing

    def deliver(self, cell: Cell) -> None:
        """Write a trial to the archive, if it has finished and the archive does not have it.

        Raises:
            ArchiveError: the archive does not answer. The first time, a line says so.
            ConfigurationError: a file of the trial is damaged.
        """
        folder = self._folder(cell)
        if cell.fingerprint in self._done or not folder.result.exists():
            return
        try:
            self._archive.put(folder)
        except ArchiveError as error:
            if not self._told.is_set():
                self._told.set()
                _print(f"warning: {error}; training continues, and the archive is tried again")
            raise
        self._done.add(cell.fingerprint)

    def _folder(self, cell: Cell) -> TrialFolder:
        return self._storage.trial(cell.fingerprint)


@contextmanager
def uploading(
    archive: Archive | None, cells: Sequence[Cell], storage: Storage
) -> Iterator[Sequence[Delivery]]:
    """Write trials to an archive during the training, and print at the end what is missing.

    If the training is stopped, the trial that is being written is the last one.

    Args:
        archive: the archive; None for none.
        cells: trials that may have finished already.
        storage: the storage of the trials.

    Yields:
        The delivery to the archive, if there is one.
    """
    if archive is None:
        yield ()
        return
    delivery = Delivery(Upload(archive, storage), cells)
    is_stopped = True
    try:
        yield (delivery,)
        is_stopped = False
    finally:
        delivery.finish(at_once=is_stopped)
        left = [cell for cell in delivery.left if storage.trial(cell.fingerprint).result.exists()]
        if left:
            why = f" ({delivery.last_error})" if delivery.last_error else ""
            _print(
                f"{number_of(len(left), 'finished trial')} not in the archive yet{why}; run the "
                "same command again"
            )


def _print(line: str) -> None:
    print(f"sweeps: {line}", file=sys.stderr, flush=True)
