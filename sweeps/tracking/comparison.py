"""Compare MLflow runs with trial folders."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from mlflow.entities import Metric, Run

from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import Delivered, History
from sweeps.tracking.run import FINAL_TAGS, FINISHED, RUNNING, STATUS, RecordedState, labels, tags
from sweeps.tracking.uri import TrackingServer, identity_of

NOTE = "mlflow.note.content"
"""MLflow's own tag for notes of users."""


class Folders:
    """The trial folders of a storage, compared with their runs on a server."""

    def __init__(self, server: TrackingServer, storage: Storage) -> None:
        self._server = server
        self._storage = storage

    @cached_property
    def storage_identity(self) -> str:
        """The value of the tag ``storage`` of this storage's runs."""
        return self._storage.mark()

    def is_up_to_date(
        self, run: Run, cell: Cell, folder: TrialFolder, recorded: RecordedState
    ) -> bool:
        """Return whether a trial has ended, and its run has its final state and its labels."""
        if recorded.state not in STATUS or run.info.status != recorded.status:
            return False
        if recorded.state.is_finished and not self.is_own(run, folder):
            return True
        return (
            run.data.tags.get("state") == recorded.state.value
            and recorded.end_time in (None, run.info.end_time)
            and has_labels(run, cell)
        )

    def is_own(self, run: Run, folder: TrialFolder) -> bool:
        """Return whether this storage delivered the run, and not another storage the same trial."""
        if (storage := run.data.tags.get("storage")) is not None:
            return bool(storage == self.storage_identity)
        record = self.delivered(folder)  # runs of earlier releases have no such tag
        return self._server.is_embedded or (record is not None and record.run_id == run.info.run_id)

    def chosen(
        self, runs: Iterable[Run], cell: Cell, folder: TrialFolder, recorded: RecordedState
    ) -> Run | None:
        """Return the run of a trial; of several, prefer one that is up to date.

        A run of another storage is chosen only if there is none of this one, if it has a result,
        and if this trial may still get one. It is not to be changed.
        """

        def is_up_to_date(run: Run) -> bool:
            return self.is_up_to_date(run, cell, folder, recorded)

        own, others = [], []
        for run in runs:
            if self.is_own(run, folder):
                own.append(run)
            elif is_up_to_date(run) or (run.info.status, recorded.status) == (FINISHED, RUNNING):
                others.append(run)
        return max(own or others, key=is_up_to_date, default=None)

    def is_last(self, folder: TrialFolder, run_id: str, epoch: int) -> bool:
        """Whether a trial was last delivered to a run, up to an epoch.

        If not, another command has delivered it since, and the run may have further epochs.
        """
        record = folder.delivery.read()
        return record is not None and (record.run_id, record.epoch) == (run_id, epoch)

    def delivered(self, folder: TrialFolder) -> Delivered | None:
        """Return the record of the last delivery to this server; None if there was none."""
        record = folder.delivery.read()
        if record is None or record.uri == self._server.identity:
            return record
        return record if identity_of(record.uri, self._storage) == self._server.identity else None


def has_labels(run: Run, cell: Cell) -> bool:
    """Return whether a run has the labels that the sweep gives the trial.

    A trial that several sweeps share has the labels of the first.
    """
    logged = run.data.params
    if run.data.tags.get("sweep", cell.sweep) != cell.sweep or "method" not in logged:
        return True  # without a method, the run was created and has no params yet
    return all(logged.get(key) == value for key, value in labels(cell).items())


def is_of_another_training(points: Sequence[Metric], history: History) -> bool:
    """Return whether a run's curve started at another time than the trial's history.

    Only the first epochs are compared, as later ones may have been repeated from a checkpoint.
    """
    if not points:
        return False
    first = min(points, key=lambda point: point.step)
    if not history:
        return True
    if first.step != history[0].epoch:
        return False
    return bool(first.timestamp != int(1000 * history[0].time))


def user_tags(run: Run, cell: Cell) -> dict[str, str]:
    """Return the tags that users set on a run, to be copied to the run that replaces it."""
    return {
        key: value
        for key, value in run.data.tags.items()
        if key == NOTE
        or not (
            key.startswith(("mlflow.", "package."))
            or key in FINAL_TAGS
            or key in tags(cell, "")
            or key in run.data.params  # labels that the sweep had earlier
        )
    }
