"""Is a run of MLflow's what a trial's folder says?"""

from collections.abc import Sequence
from functools import cached_property

from mlflow.entities import Metric, Run

from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.records import Delivered, History
from sweeps.tracking.run import FINAL_TAGS, STATUS, Standing, labels, tags
from sweeps.tracking.uri import TrackingServer, identity_of

NOTE = "mlflow.note.content"
"""The one tag of MLflow's own that people write."""


class Folders:
    """The trials of a storage, beside their runs on a server."""

    def __init__(self, server: TrackingServer, storage: Storage) -> None:
        self._server = server
        self._storage = storage

    @cached_property
    def storage_identity(self) -> str:
        """Of the storage, as its runs bear it."""
        return self._storage.mark()

    def has_end(self, run: Run, cell: Cell, folder: TrialFolder, stands: Standing) -> bool:
        """Whether a run shows the trial as it has ended, under the labels that it has."""
        if stands.state not in STATUS or run.info.status != stands.status:
            return False
        if stands.state.is_finished and not self.is_ours(run, folder):
            return True
        return (
            run.data.tags.get("state") == stands.state.value
            and stands.when in (None, run.info.end_time)
            and has_labels(run, cell)
        )

    def is_ours(self, run: Run, folder: TrialFolder) -> bool:
        """Whether this storage has delivered it, and not another one the same trial."""
        if (storage := run.data.tags.get("storage")) is not None:
            return bool(storage == self.storage_identity)
        noted = self.noted(folder)  # older runs do not say
        return self._server.is_embedded or (noted is not None and noted.run_id == run.info.run_id)

    def noted(self, folder: TrialFolder) -> Delivered | None:
        """What was once delivered to this server; None for nothing."""
        noted = folder.delivery.read()
        if noted is None or noted.uri == self._server.identity:
            return noted
        return noted if identity_of(noted.uri, self._storage) == self._server.identity else None


def has_labels(run: Run, cell: Cell) -> bool:
    """Whether it is called what the sweep calls it.

    A trial that several sweeps share has the labels of the first.
    """
    said = run.data.params
    if run.data.tags.get("sweep", cell.sweep) != cell.sweep or "method" not in said:
        return True  # without a method, it was made and has not been described yet
    return all(said.get(key) == value for key, value in labels(cell).items())


def is_of_another_training(points: Sequence[Metric], history: History) -> bool:
    """Whether a run's curve began at another time than the trial.

    Later epochs may have been trained again, from a checkpoint.
    """
    if not points:
        return False
    first = min(points, key=lambda point: point.step)
    if not history:
        return True
    if first.step != history[0].epoch:
        return False
    return bool(first.timestamp != int(1000 * history[0].time))


def tags_of_people(run: Run, cell: Cell) -> dict[str, str]:
    """What somebody has written on a run, for the one in its place."""
    return {
        key: value
        for key, value in run.data.tags.items()
        if key == NOTE
        or not (
            key.startswith(("mlflow.", "package."))
            or key in FINAL_TAGS
            or key in tags(cell, "")
            or key in run.data.params  # labels that the sweep had then
        )
    }
