"""MLflow: one experiment a sweep, one run a trial, delivered from the trial folders.

Workers only write to their folder; the driver brings what is new there to the tracking server (see
`sweeps.tracking.delivery`). The folder is the truth. The server is asked how far it is, and never
believed: `Tracker.behind` compares all runs of a sweep at once, and a delivery that is repeated
changes nothing, as epochs carry their own time.

A run cannot forget. One whose trial was trained anew since, or has other labels now, goes to
MLflow's bin, and another one is delivered in its place. What another storage has delivered of the
same trial is left as it is.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunInfo, RunTag, ViewType
from mlflow.exceptions import MlflowException

from sweeps.secrets import hide
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.records import Delivered, Epoch, History, Result
from sweeps.tracking.comparison import (
    Folders,
    has_labels,
    is_of_another_training,
    tags_of_people,
)
from sweeps.tracking.experiment import Connected, connect
from sweeps.tracking.run import (
    STATUS,
    Standing,
    epoch_metrics,
    final_metrics,
    final_tags,
    numbers,
    params,
    run_name,
    standing,
    tags,
)
from sweeps.tracking.uri import identity_of, tracking_server

METRICS_A_BATCH = 1000
"""MLflow's most. A batch is stored as a whole or not at all, and so is each epoch."""
RUNS_A_PAGE = 500
"""While they are compared, a run with its params, tags and metrics takes about 0.1 MB."""

_RUN_IS_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""What the stores answer for a run that was deleted, for good or into the bin."""


@dataclass(frozen=True)
class _Progress:
    """A trial's run, and how far it is, as this process knows from what it has asked and sent."""

    run_id: str
    experiment_id: str
    epoch: int
    status: str


class Tracker:
    """A sweep's experiment on a tracking server."""

    def __init__(self, experiment: str, storage: Storage, uri: str | None) -> None:
        """Nothing is looked up yet.

        Args:
            experiment: the experiment's name.
            storage: where trials and the embedded store lie.
            uri: an MLflow tracking URI; None for the environment's, or the embedded store.
        """
        self.storage = storage
        self.server = tracking_server(uri, storage)
        self.note = ""
        """What people should know of how the experiment was found; may be empty."""
        self.num_made_anew = 0
        """Runs that went to the bin, with others in their place."""
        self._folders = Folders(self.server, storage)
        self._name = experiment
        self._connected: Connected | None = None
        self._progress: dict[str, _Progress] = {}
        """Fingerprint -> its run, once it has been looked up."""
        self._ends: dict[str, tuple[TrialState, int | None]] = {}
        """Fingerprint -> the end of the trial that the server is known to have."""

    def connected(self) -> Connected:
        """The experiment; see `sweeps.tracking.experiment.connect`.

        Raises:
            ConfigurationError: the server cannot be used.
        """
        if self._connected is None:
            self._connected = connect(self.server, self._name, self.storage)
            self.note = self._connected.note or self.note
        return self._connected

    def has_delivered(self, cells: Iterable[Cell]) -> bool:
        """Whether any trial has once been brought to this server."""
        folders = (self.storage.trial(cell.fingerprint) for cell in cells)
        return any(self._folders.noted(folder) is not None for folder in folders)

    def hide_secrets(self, cells: Iterable[Cell]) -> None:
        """Take out of the trials' folders what older versions noted there with a URI."""
        for cell in cells:
            folder = self.storage.trial(cell.fingerprint)
            noted = folder.delivery.read()
            if noted is not None and hide(noted.uri) != noted.uri:
                folder.delivery.write(replace(noted, uri=identity_of(noted.uri, self.storage)))

    @property
    def _client(self) -> MlflowClient:
        return self.connected().client

    @property
    def _experiment_id(self) -> str:
        return self.connected().experiment_id

    # How far the server is

    def behind(self, cells: Iterable[Cell]) -> list[Cell]:
        """Trials of which the server does not have what their folders say.

        It is asked for all runs of the experiment, page by page, and of others that share trials
        with it, and not for each trial.

        Raises:
            ConfigurationError: see `connected`.
            MlflowException: the server does not answer.
        """
        open_: dict[str, tuple[Cell, TrialFolder, Standing]] = {}
        experiments = {self.connected().experiment_id}
        for cell in cells:
            folder = self.storage.trial(cell.fingerprint)
            if (stands := standing(folder)).state is not TrialState.WAITING:
                open_[cell.fingerprint] = (cell, folder, stands)
                if (noted := self._folders.noted(folder)) is not None and noted.experiment_id:
                    experiments.add(noted.experiment_id)
        for run in self._runs(sorted(experiments)) if open_ else ():
            if (found := open_.get(run.data.tags.get("fingerprint", ""))) is not None:
                cell, folder, stands = found
                if self._folders.has_end(run, cell, folder, stands):
                    del open_[cell.fingerprint]
                    self._end(cell, folder, stands, run.info)
        return [cell for cell, _, _ in open_.values()]

    def _runs(
        self, experiments: list[str], only: str = "", view: int = ViewType.ACTIVE_ONLY
    ) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(experiments, only, view, RUNS_A_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    # Delivery

    def deliver(self, cell: Cell) -> None:
        """Bring the server up to date with a trial's folder.

        A run that was deleted on the server is taken out of the bin if it is as the folder says,
        and made anew, from its first epoch, if it is not.

        Raises:
            ConfigurationError: see `connected`.
            MlflowException: the server does not take it; it may be delivered again.
        """
        folder = self.storage.trial(cell.fingerprint)
        stands = standing(folder)
        if stands.state is TrialState.WAITING or self._knows_end(cell, stands):
            return
        with folder.locked(".delivery.lock"):  # another driver of a study may be at it, too
            try:
                self._deliver(cell, folder)
            except Exception as error:
                self._progress.clear()  # it may have been stored, and the answer lost
                if not (isinstance(error, MlflowException) and error.error_code in _RUN_IS_GONE):
                    raise
                try:
                    self._deliver(cell, folder)
                except Exception:
                    self._connected = None  # perhaps it is the experiment that is gone
                    raise

    def _knows_end(self, cell: Cell, stands: Standing) -> bool:
        return self._ends.get(cell.fingerprint) == (stands.state, stands.when)

    def _deliver(self, cell: Cell, folder: TrialFolder) -> None:
        stands, history = standing(folder), folder.read_history()
        progress = self._progress.get(cell.fingerprint)
        if progress is None:
            progress = self._take_up(cell, folder, stands, history)
            if self._knows_end(cell, stands):
                return
        run_id = progress.run_id
        if progress.status not in ("RUNNING", stands.status):  # it is trained after all
            self._client.update_run(run_id, status="RUNNING")
            if "error" in self._client.get_run(run_id).data.tags:
                self._client.delete_tag(run_id, "error")
        fresh = [epoch for epoch in history if epoch.epoch > progress.epoch]
        for metrics in _batches(fresh):
            self._client.log_batch(run_id, metrics=metrics, synchronous=True)
        last = fresh[-1].epoch if fresh else progress.epoch
        progress = replace(progress, epoch=last, status=stands.status)
        if stands.state in STATUS:
            self._close(run_id, folder, stands, history)
            self._end(cell, folder, stands, progress)
        else:
            self._note(folder, stands, progress)
        self._progress[cell.fingerprint] = progress

    def _take_up(
        self, cell: Cell, folder: TrialFolder, stands: Standing, history: History
    ) -> _Progress:
        """The trial's run as it is on the server, or another one in its place, or a new one."""
        of_people: dict[str, str] = {}
        run = self._find(cell, folder, stands)
        if run is not None:
            if self._folders.has_end(run, cell, folder, stands):
                self._end(cell, folder, stands, run.info)
                return _progress(run, 0)
            points = self._client.get_metric_history(run.info.run_id, "train_loss")
            is_current = has_labels(run, cell) and not is_of_another_training(points, history)
            if is_current or not self._folders.is_ours(run, folder):
                self._describe(run, cell)
                # What was trained again from a checkpoint, or in another storage, has other times:
                # it would become points beside the points.
                return _progress(run, max((point.step for point in points), default=0))
            of_people = tags_of_people(run, cell)
            self._client.delete_run(run.info.run_id)
            self.num_made_anew += 1
        for binned in self._runs([self._experiment_id], _of(cell), ViewType.DELETED_ONLY):
            if self._folders.has_end(binned, cell, folder, stands):
                self._client.restore_run(binned.info.run_id)
                self._end(cell, folder, stands, binned.info)
                return _progress(binned, 0)
        start = int(1000 * (history[0].time - history[0].seconds)) if history else None
        run = self._client.create_run(
            self._experiment_id,
            start_time=start,
            run_name=run_name(cell),
            tags={**of_people, **tags(cell, self._folders.storage_identity)},
        )
        self._describe(run, cell)
        return _progress(run, 0)

    def _find(self, cell: Cell, folder: TrialFolder, stands: Standing) -> Run | None:
        """The run that bears the trial's fingerprint, the best if there are several.

        A trial that two sweeps share is a run in the experiment of one of them only.
        """
        found = list(self._runs([self._experiment_id], _of(cell)))
        if found:
            return max(
                found,
                key=lambda run: (
                    self._folders.has_end(run, cell, folder, stands),
                    self._folders.is_ours(run, folder),
                ),
            )
        noted = self._folders.noted(folder)
        if noted is None or not noted.run_id:
            return None
        try:
            run = self._client.get_run(noted.run_id)
        except MlflowException as error:
            if error.error_code in _RUN_IS_GONE:
                return None
            raise
        is_it = run.data.tags.get("fingerprint") == cell.fingerprint
        return run if is_it and run.info.lifecycle_stage == LifecycleStage.ACTIVE else None

    def _describe(self, run: Run, cell: Cell) -> None:
        """Log what the run does not say of the trial yet."""
        if run.data.tags.get("sweep", cell.sweep) != cell.sweep:
            return  # see `_has_labels`
        said = {**tags(cell, self._folders.storage_identity)}
        if "storage" in run.data.tags:
            del said["storage"]  # it stays the one that has begun it
        self._client.log_batch(
            run.info.run_id,
            params=[
                Param(key, value)
                for key, value in params(cell).items()
                if key not in run.data.params
            ],
            tags=[RunTag(key, value) for key, value in said.items()],
            metrics=[
                Metric(key, value, run.info.start_time, 0) for key, value in numbers(cell).items()
            ],
            synchronous=True,
        )

    def _close(self, run_id: str, folder: TrialFolder, stands: Standing, history: History) -> None:
        """Final figures, artifacts and status; the status last, as it says that all is there."""
        when = int(1000 * time.time()) if stands.when is None else stands.when
        seconds = history.seconds if history.is_whole else None
        self._client.log_batch(
            run_id,
            metrics=[
                Metric(key, value, when, len(history))
                for key, value in final_metrics(stands, seconds).items()
            ],
            tags=[RunTag(key, value) for key, value in final_tags(stands).items()],
            synchronous=True,
        )
        for file in (folder.recipe, folder.weights, folder.failure.path):
            if file.exists():
                self._client.log_artifact(run_id, str(file))
        self._client.set_terminated(run_id, status=stands.status, end_time=when)

    def _end(
        self, cell: Cell, folder: TrialFolder, stands: Standing, run: RunInfo | _Progress
    ) -> None:
        """The server has everything of a trial."""
        self._ends[cell.fingerprint] = (stands.state, stands.when)
        self._note(folder, stands, run)

    def _note(self, folder: TrialFolder, stands: Standing, run: RunInfo | _Progress) -> None:
        """Where the trial's run is, for next time; that it is there is asked then."""
        epoch = run.epoch if isinstance(run, _Progress) else 0
        if isinstance(stands.record, Result):
            epoch = stands.record.epochs
        noted = Delivered(
            uri=self.server.identity,
            experiment_id=str(run.experiment_id),
            run_id=str(run.run_id),
            epoch=epoch,
            state=stands.state.value,
        )
        before = folder.delivery.read()
        if (
            isinstance(run, RunInfo)
            and before is not None
            and not isinstance(stands.record, Result)
        ):
            noted = replace(noted, epoch=before.epoch)
        if noted != before:
            folder.delivery.write(noted)


def _of(cell: Cell) -> str:
    """A filter for the runs of a trial."""
    return f"tags.fingerprint = '{cell.fingerprint}'"


def _progress(run: Run, epoch: int) -> _Progress:
    return _Progress(run.info.run_id, run.info.experiment_id, epoch, run.info.status)


def _batches(epochs: Sequence[Epoch]) -> Iterator[list[Metric]]:
    """The epochs' points on all curves, whole epochs at a time."""
    batch: list[Metric] = []
    for epoch in epochs:
        points = [
            Metric(key, value, int(1000 * epoch.time), epoch.epoch)
            for key, value in epoch_metrics(epoch).items()
        ]
        if len(batch) + len(points) > METRICS_A_BATCH:
            yield batch
            batch = []
        batch += points
    if batch:
        yield batch
