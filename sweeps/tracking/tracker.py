"""MLflow: one experiment per sweep and one run per trial, delivered from the trial folders.

Workers write to trial folders only; the driver delivers what is new there to the tracking server
(see `sweeps.tracking.delivery`). The folders are authoritative. `Tracker.outdated` compares all
runs of a sweep with them at once. A repeated delivery changes nothing, as each epoch has the time
at which it was trained.

Metrics and params of a run cannot be changed. A run whose trial was trained again, or has other
labels now, is deleted (MLflow can restore it) and replaced by a new one.

Several storages may have the same trial on a server. A storage never changes the run of another
one. If that run has a result, it is shared, and the trial gets no second one. Otherwise the storage
adds a run of its own, for example while both train the trial.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Param, Run, RunInfo, RunTag, ViewType
from mlflow.exceptions import MlflowException

from quantlab.tasks import Metric as TaskMetric
from sweeps.printing.secrets import hide
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.records import Delivered, History, Result
from sweeps.tracking import earlier_releases
from sweeps.tracking.access.batch import Batch, joined
from sweeps.tracking.artifacts import log_files
from sweeps.tracking.comparison import (
    Folders,
    has_labels,
    is_of_another_training,
    user_tags,
)
from sweeps.tracking.experiment import ACCURACY, Connected, connect, write_views
from sweeps.tracking.run import (
    STATUS,
    RecordedState,
    epoch_part,
    final_part,
    params,
    recorded_state,
    run_name,
    tags,
)
from sweeps.tracking.uri import identity_of, tracking_server
from sweeps.tracking.views import results_of

RUNS_A_PAGE = 500
"""Runs of one search request; each takes about 0.1 MB with its params, tags and metrics."""

_RUN_IS_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""Error codes of the stores for a run that was deleted, permanently or not."""


@dataclass(frozen=True)
class _Progress:
    """What this process knows of a trial's run from its requests."""

    run_id: str
    experiment_id: str
    epoch: int
    """The last epoch that was delivered."""
    status: str
    artifacts: str
    missing: tuple[Batch, ...] = ()
    """Params and tags of the trial that the run does not have yet."""


class Tracker:
    """Delivers trials to a sweep's experiment on a tracking server."""

    def __init__(
        self,
        experiment: str,
        storage: Storage,
        uri: str | None,
        metric: TaskMetric = ACCURACY,
    ) -> None:
        """Store the settings; the server is contacted by `connected`.

        Args:
            experiment: the experiment's name.
            storage: the folder of the trials and of the embedded database.
            uri: an MLflow tracking URI; None for the environment's, or the embedded database.
            metric: the main metric of the trials' task.
        """
        self.storage = storage
        self.server = tracking_server(uri, storage)
        self.note = ""
        """A message for the user about how the experiment was found; may be empty."""
        self.num_replaced = 0
        """Runs that were deleted and replaced by new ones."""
        self._folders = Folders(self.server, storage)
        self._name = experiment
        self._metric = metric
        self._connected: Connected | None = None
        self._progress: dict[str, _Progress] = {}
        """Fingerprint -> its run, once it was found or created."""
        self._ends: dict[str, tuple[TrialState, int | None]] = {}
        """Fingerprint -> final state and end time of the trial that the server is known to have."""

    def connected(self) -> Connected:
        """Connect once, and return the experiment; see `sweeps.tracking.experiment.connect`.

        Raises:
            ConfigurationError: the server cannot be used.
        """
        if self._connected is None:
            self._connected = connect(self.server, self._name, self.storage, self._metric)
            self.note = self._connected.note or self.note
        return self._connected

    def has_delivered(self, cells: Iterable[Cell]) -> bool:
        """Return whether any of these trials was ever delivered to this server."""
        folders = (self.storage.trial(cell.fingerprint) for cell in cells)
        return any(self._folders.delivered(folder) is not None for folder in folders)

    def hide_secrets(self, cells: Iterable[Cell]) -> None:
        """Remove passwords that earlier releases recorded in the trial folders with a URI."""
        for cell in cells:
            folder = self.storage.trial(cell.fingerprint)
            record = folder.delivery.read()
            if record is not None and hide(record.uri) != record.uri:
                folder.delivery.write(replace(record, uri=identity_of(record.uri, self.storage)))

    @property
    def _client(self) -> MlflowClient:
        return self.connected().client

    @property
    def _experiment_id(self) -> str:
        return self.connected().experiment_id

    # Comparison

    def outdated(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the trials whose runs are missing or differ from their folders.

        All runs of the experiment are requested, page by page, with those of other experiments that
        share trials with it; there is no request for each trial. Runs of earlier releases are
        brought up to date. Where this storage has a run of its own, that run counts, and not one of
        another storage.

        Raises:
            ConfigurationError: see `connected`.
            MlflowException: the server does not answer.
        """
        open_: dict[str, tuple[Cell, TrialFolder, RecordedState]] = {}
        experiments = {self.connected().experiment_id}
        for cell in cells:
            folder = self.storage.trial(cell.fingerprint)
            if (recorded := recorded_state(folder)).state is not TrialState.WAITING:
                open_[cell.fingerprint] = (cell, folder, recorded)
                record = self._folders.delivered(folder)
                if record is not None and record.experiment_id:
                    experiments.add(record.experiment_id)
        earlier: list[Run] = []
        shared: dict[str, RunInfo | None] = {}  # None where there is an own run, too
        for run in self._runs(sorted(experiments)) if open_ else ():
            if (found := open_.get(run.data.tags.get("fingerprint", ""))) is not None:
                cell, folder, recorded = found
                is_up_to_date = self._folders.is_up_to_date(run, cell, folder, recorded)
                if not self._folders.is_own(run, folder):
                    if is_up_to_date:
                        shared.setdefault(cell.fingerprint, run.info)
                    continue
                shared[cell.fingerprint] = None
                if earlier_releases.is_earlier(run):
                    earlier.append(run)
                if is_up_to_date:
                    del open_[cell.fingerprint]
                    self._end(cell, folder, recorded, run.info)
        for fingerprint, info in shared.items():
            if info is not None:
                cell, folder, recorded = open_.pop(fingerprint)
                self._end(cell, folder, recorded, info)
        earlier_releases.update(self._client, earlier, results_of(self._metric.name))
        return [cell for cell, _, _ in open_.values()]

    def prepare_views(self, cells: Iterable[Cell]) -> None:
        """Write the views with which MLflow's UI shows trials; see `sweeps.tracking.views`.

        Raises:
            ConfigurationError: see `connected`.
            MlflowException: a request failed.
        """
        connected = self.connected()
        write_views(connected.client, connected.experiment_id, self._metric, cells)

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
        """Bring the run of a trial up to date with the trial's folder.

        A run that was deleted on the server is restored if it agrees with the folder. Otherwise a
        new one is created and gets all epochs.

        Raises:
            ConfigurationError: see `connected`.
            MlflowException: a request failed; the delivery may be repeated.
        """
        folder = self.storage.trial(cell.fingerprint)
        recorded = recorded_state(folder)
        if recorded.state is TrialState.WAITING or self._knows_end(cell, recorded):
            return
        with folder.locked(".delivery.lock"):  # another command may deliver it, too
            try:
                self._deliver(cell, folder)
            except Exception as error:
                self._progress.clear()  # the request may have been stored, and only its answer lost
                if not (isinstance(error, MlflowException) and error.error_code in _RUN_IS_GONE):
                    raise
                try:
                    self._deliver(cell, folder)
                except Exception:
                    self._connected = None  # perhaps the experiment was deleted
                    raise

    def _knows_end(self, cell: Cell, recorded: RecordedState) -> bool:
        return self._ends.get(cell.fingerprint) == (recorded.state, recorded.end_time)

    def _deliver(self, cell: Cell, folder: TrialFolder) -> None:
        recorded, history = recorded_state(folder), folder.read_history()
        progress = self._progress.get(cell.fingerprint)
        if progress is None or not self._folders.is_last(folder, progress.run_id, progress.epoch):
            progress = self._find_or_create(cell, folder, recorded, history)
            if progress is None:
                return
        run_id = progress.run_id
        if progress.status not in ("RUNNING", recorded.status):  # its training continued
            self._client.update_run(run_id, status="RUNNING")
            if "error" in self._client.get_run(run_id).data.tags:
                self._client.delete_tag(run_id, "error")
        fresh = [epoch for epoch in history if epoch.epoch > progress.epoch]
        has_ended = recorded.state in STATUS
        when = recorded.end_time or int(1000 * time.time())
        parts = [*progress.missing, *map(epoch_part, fresh)]
        if has_ended:
            parts.append(final_part(recorded, history, when))
        for batch in joined(parts):
            self._client.log_batch(
                run_id, batch.metrics, batch.params, batch.tags, synchronous=True
            )
        end = fresh[-1].epoch if fresh else progress.epoch
        progress = replace(progress, epoch=end, status=recorded.status, missing=())
        if has_ended:
            self._close(progress, folder, recorded.status, when)
            self._end(cell, folder, recorded, progress)
        else:
            self._record_delivery(folder, recorded, progress)
        self._progress[cell.fingerprint] = progress

    def _find_or_create(
        self, cell: Cell, folder: TrialFolder, recorded: RecordedState, history: History
    ) -> _Progress | None:
        """Find, replace, restore or create the trial's run; None if nothing is to be delivered."""
        kept_tags: dict[str, str] = {}
        runs = list(self._runs([self._experiment_id], _filter(cell), ViewType.ALL))
        run = self._chosen([run for run in runs if _is_active(run)], cell, folder, recorded)
        if run is not None:
            if self._folders.is_up_to_date(run, cell, folder, recorded):
                self._end(cell, folder, recorded, run.info)
                return None
            if not self._folders.is_own(run, folder):  # it is shared once this trial has ended, too
                return None
            points = self._client.get_metric_history(run.info.run_id, "train_loss")
            if has_labels(run, cell) and not is_of_another_training(points, history):
                # Epochs that were repeated from a checkpoint have other times: to log them again
                # would add second points to the curves.
                epoch = max((point.step for point in points), default=0)
                return _progress(run, epoch, self._missing(run, cell))
            kept_tags = user_tags(run, cell)
            self._client.delete_run(run.info.run_id)
            self.num_replaced += 1
        for deleted in itertools.filterfalse(_is_active, runs):
            is_own = self._folders.is_own(deleted, folder)
            if is_own and self._folders.is_up_to_date(deleted, cell, folder, recorded):
                self._client.restore_run(deleted.info.run_id)
                self._end(cell, folder, recorded, deleted.info)
                return None
        start = int(1000 * (history[0].time - history[0].seconds)) if history else None
        run = self._client.create_run(
            self._experiment_id,
            start_time=start,
            run_name=run_name(cell),
            tags={**kept_tags, **tags(cell, self._folders.storage_identity)},
        )
        return _progress(run, 0, self._missing(run, cell))

    def _chosen(
        self, found: list[Run], cell: Cell, folder: TrialFolder, recorded: RecordedState
    ) -> Run | None:
        """Return the run of a trial among those of the experiment, see `Folders.chosen`.

        A trial that two sweeps share has a run in the experiment of one of them only.
        """
        record = self._folders.delivered(folder)
        known = {"", *(run.info.run_id for run in found)}
        if record is not None and record.run_id not in known:
            try:
                run = self._client.get_run(record.run_id)
            except MlflowException as error:
                if error.error_code not in _RUN_IS_GONE:
                    raise
            else:
                is_same = run.data.tags.get("fingerprint") == cell.fingerprint
                if is_same and _is_active(run):
                    found = [*found, run]
        return self._folders.chosen(found, cell, folder, recorded)

    def _missing(self, run: Run, cell: Cell) -> tuple[Batch, ...]:
        """Return the params and tags of the trial that the run does not have yet."""
        data = run.data
        if data.tags.get("sweep", cell.sweep) != cell.sweep:
            return ()  # see `has_labels`
        own = tags(cell, self._folders.storage_identity)
        return (
            *(
                Batch(params=(Param(key, value),))
                for key, value in params(cell).items()
                if key not in data.params
            ),
            *(
                Batch(tags=(RunTag(key, value),))
                for key, value in own.items()
                if data.tags.get(key) != value
            ),
        )

    def _close(self, run: _Progress, folder: TrialFolder, status: str, when: int) -> None:
        """Log the artifacts, then the status, which marks the run complete."""
        files = (folder.recipe, folder.weights, folder.failure.path)
        log_files([file for file in files if file.exists()], run.artifacts, self.server.uri)
        self._client.set_terminated(run.run_id, status=status, end_time=when)

    def _end(
        self, cell: Cell, folder: TrialFolder, recorded: RecordedState, run: RunInfo | _Progress
    ) -> None:
        """Remember that the server has everything of a trial."""
        self._ends[cell.fingerprint] = (recorded.state, recorded.end_time)
        self._record_delivery(folder, recorded, run)

    def _record_delivery(
        self, folder: TrialFolder, recorded: RecordedState, run: RunInfo | _Progress
    ) -> None:
        """Write the run's id to the trial folder, so that the next driver finds the run."""
        epoch = run.epoch if isinstance(run, _Progress) else 0
        if isinstance(recorded.record, Result):
            epoch = recorded.record.epochs
        record = Delivered(
            uri=self.server.identity,
            experiment_id=str(run.experiment_id),
            run_id=str(run.run_id),
            epoch=epoch,
            state=recorded.state.value,
        )
        before = folder.delivery.read()
        if (
            isinstance(run, RunInfo)
            and before is not None
            and not isinstance(recorded.record, Result)
        ):
            record = replace(record, epoch=before.epoch)
        if record != before:
            folder.delivery.write(record)


def _filter(cell: Cell) -> str:
    """Return the filter for the runs of a trial."""
    return f"tags.fingerprint = '{cell.fingerprint}'"


def _is_active(run: Run) -> bool:
    """Return whether a run was not deleted."""
    return bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)


def _progress(run: Run, epoch: int, missing: tuple[Batch, ...]) -> _Progress:
    info = run.info
    return _Progress(
        info.run_id, info.experiment_id, epoch, info.status, info.artifact_uri, missing
    )
