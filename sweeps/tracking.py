"""MLflow: one experiment a sweep, one run a trial, delivered from the trial folders.

Workers only write to their folder; the driver brings what is new there to the tracking server (see
`sweeps.delivery`). A delivery that is repeated changes nothing: epochs carry their own time, and
`delivery.json` says how far the server is.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# MLflow's own retries would make a second run where only the answer to the first was lost; a
# repeated delivery looks first.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each trial

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from quantlab import ConfigurationError, flatten
from quantlab.errors import first_line
from sweeps.records import Delivered, Epoch, History
from sweeps.results import level_set, rho0
from sweeps.sealed_json import plain
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialFolder, TrialState

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# A database that is away would fill the terminal with tracebacks; `Delivery.last_error` tells.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "test_accuracy",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "true",
}
"""Make MLflow's UI open on the runs, with the accuracy in view."""

EPOCHS_A_BATCH = 100
"""A batch is stored as a whole or not at all, and so is each epoch; 1,000 metrics are the most."""

_STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.DIVERGED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.STOPPED: "KILLED",
}
_RUN_IS_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""What the stores answer for a run that was deleted, for good or into the bin."""
_RUN_OF_ALL = "report_of"
"""Tag of the run that stands for a sweep or a study: its name."""
NOT_METRICS = ("stage", "epoch", "step", "time", "weight_histogram")
"""Of a record in a trial's history."""


class Tracker:
    """A sweep's experiment on a tracking server."""

    def __init__(self, experiment: str, storage: Storage, uri: str | None) -> None:
        """Nothing is looked up yet.

        Args:
            experiment: the experiment's name.
            storage: where trials and the embedded store lie.
            uri: an MLflow tracking URI; None for the embedded store.
        """
        self.storage = storage
        self.uri = uri or storage.default_tracking_uri
        self._name = experiment
        self._experiment = ""
        self._met: set[str] = set()
        """Runs that this process has looked up."""

    def connect(self) -> None:
        """Find the experiment, or make it.

        Another driver on the same storage waits meanwhile: two that make a SQLite store at once
        would both make its tables.

        Raises:
            ConfigurationError: the server does not answer, or the URI is not one.
        """
        # A server knows its own place for artifacts; a bare database would take the working folder.
        is_server = self.uri.startswith(("http:", "https:"))
        location = None if is_server else (self.storage.artifacts / self._name).as_uri()
        try:
            self.storage.root.mkdir(parents=True, exist_ok=True)
            with (self.storage.root / ".mlflow.lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._experiment = self._find_experiment(location)
        except Exception as error:  # each kind of store raises its own
            raise ConfigurationError(
                f"--tracking-uri {self.uri}: cannot be used ({first_line(error)})"
            ) from error

    def _find_experiment(self, location: str | None) -> str:
        """Its id; made, with its artifacts at the location, if it is not there."""
        self._client = mlflow.MlflowClient(tracking_uri=self.uri)
        experiment = self._client.get_experiment_by_name(self._name)
        if experiment:
            return str(experiment.experiment_id)
        return str(self._client.create_experiment(self._name, location, EXPERIMENT_TAGS))

    def has_delivered(self, cells: Iterable[Cell]) -> bool:
        """Whether any trial has once been brought to this server."""
        folders = (self.storage.trial(cell.fingerprint) for cell in cells)
        return any(_known(folder, self.uri) is not None for folder in folders)

    def log_report(
        self, run_name: str, description: str, directory: Path, files: Iterable[Path]
    ) -> None:
        """Log a report's files to the run that stands for a sweep or a study as a whole.

        It is found again by its tag, so that there is one however often this is done. The trials'
        runs are not nested below it: MLflow's UI would hide them all behind one line, and could not
        sort them.

        Raises:
            ConfigurationError: the server cannot be used.
        """
        if not self._experiment:
            self.connect()
        try:
            run_id = self._run_of_all(run_name, description)
            for file in files:
                below = file.parent.relative_to(directory)
                self._client.log_artifact(run_id, str(file), (Path("report") / below).as_posix())
            self._client.set_terminated(run_id)
        except MlflowException as error:
            raise ConfigurationError(
                f"--tracking-uri {self.uri}: the report is in {directory}, and could not be logged "
                f"({first_line(error)})"
            ) from error

    def _run_of_all(self, name: str, description: str) -> str:
        found = self._client.search_runs(
            [self._experiment], f"tags.{_RUN_OF_ALL} = '{name}'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        tags = {_RUN_OF_ALL: name, "mlflow.note.content": description}
        run = self._client.create_run(self._experiment, run_name=name, tags=tags)
        return str(run.info.run_id)

    def deliver(self, cell: Cell) -> None:
        """Bring the server up to date with a trial's folder.

        A run that was deleted on the server is made anew, from its first epoch.

        Raises:
            ConfigurationError: see `connect`, which is done first if it has not been.
            MlflowException: the server does not take it; it may be delivered again.
        """
        folder = self.storage.trial(cell.fingerprint)
        if not self._experiment:
            self.connect()
        if folder.state() is TrialState.WAITING:
            return
        with folder.locked(".delivery.lock"):  # another driver of a study may be at it, too
            self._deliver_once(cell, folder)

    def _deliver_once(self, cell: Cell, folder: TrialFolder) -> None:
        try:
            self._deliver(cell, folder)
        except Exception as error:
            self._met.clear()  # it may have been stored, and the answer lost
            is_gone = isinstance(error, MlflowException) and error.error_code in _RUN_IS_GONE
            if not is_gone or not folder.delivery.exists():
                raise
            folder.delivery.remove()
            self._deliver(cell, folder)

    def _deliver(self, cell: Cell, folder: TrialFolder) -> None:
        state = folder.state()
        if state is TrialState.WAITING or _is_delivered(folder, state, self.uri):
            return
        history = folder.read_history()
        known = _known(folder, self.uri)
        if known is None:
            run = self._run(cell, history)
            known = Delivered(uri=self.uri, run_id=run.info.run_id, epoch=0, state="")
            if run.info.status == "FINISHED" and state.is_finished:
                known = replace(known, epoch=len(history), state=state.value)
            folder.delivery.write(known)
            if known.state:
                return
        run_id = known.run_id
        before = known.state
        if before in ("FAILED", "STOPPED") and before != state.value:  # it is trained after all
            self._client.update_run(run_id, status="RUNNING")
            if "error" in self._client.get_run(run_id).data.tags:
                self._client.delete_tag(run_id, "error")
        if run_id not in self._met:
            self._met.add(run_id)
            known = replace(known, epoch=max(known.epoch, self._last_epoch(run_id)))
        fresh = [record for record in history if record.epoch > known.epoch]
        for start in range(0, len(fresh), EPOCHS_A_BATCH):
            self._client.log_batch(run_id, metrics=_metrics(fresh[start : start + EPOCHS_A_BATCH]))
        if state in _STATUS:
            self._close(run_id, folder, state, history)
        epoch = fresh[-1].epoch if fresh else known.epoch
        folder.delivery.write(replace(known, epoch=epoch, state=state.value))

    def _last_epoch(self, run_id: str) -> int:
        """How far the server's curves go, whoever delivered them.

        A driver that was killed may not have noted its last delivery; and what was trained again
        since then, from a checkpoint or in another storage, has other times, so that it would
        become points beside the points.
        """
        points = self._client.get_metric_history(run_id, "train_loss")
        return max((point.step for point in points), default=0)

    def _run(self, cell: Cell, history: History) -> Run:
        """The trial's run: the one that bears its fingerprint, or a new one; described anew."""
        found = self._client.search_runs(
            [self._experiment], f"tags.fingerprint = '{cell.fingerprint}'", max_results=1
        )
        if found:
            run = found[0]
        else:
            start = history[0].time - history[0].seconds if history else None
            run = self._client.create_run(
                self._experiment,
                start_time=None if start is None else int(1000 * start),
                run_name=cell.name,
                tags={"fingerprint": cell.fingerprint},
            )
            self._met.add(run.info.run_id)  # nothing can be there yet
        value = rho0(cell)
        coordinates = {
            **cell.coordinates,
            "method": cell.method,
            "set": level_set(cell),
            "rho0": cell.coordinates.get("rho0", "") if value is None else f"{value:g}",
        }
        # The UI sorts runs by params and metrics, not by tags, and params only as text.
        numbers = {"seed": cell.recipe.seed, **({} if value is None else {"rho0": value})}
        params = {**flatten(cell.recipe), **coordinates}
        tags = {
            "configuration_id": cell.configuration_id,
            "sweep": cell.sweep,
            "block": cell.block,
            "seed": cell.recipe.seed,
            **coordinates,
        }
        self._client.log_batch(
            run.info.run_id,
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(key, str(value)) for key, value in tags.items()],
            metrics=[Metric(key, value, run.info.start_time, 0) for key, value in numbers.items()],
        )
        return run

    def _close(self, run_id: str, folder: TrialFolder, state: TrialState, history: History) -> None:
        """Final figures, artifacts and status."""
        record = folder.result.read() or folder.failure.read() or folder.stopped.read()
        outcome: dict[str, Any] = {} if record is None else plain(record)
        when = int(1000 * outcome.get("time", time.time()))  # a file may be gone by now
        finals = {"seconds_total": history.seconds} if history.is_whole else {}
        if state is TrialState.COMPLETE:
            accuracies = {key: outcome[key] for key in ("validation_accuracy", "test_accuracy")}
            finals |= {key: value for key, value in accuracies.items() if value is not None}
        tags = {
            key: outcome[key]
            for key in ("git_commit", "device", "execution", "pack", "host", "error", "by")
            if outcome.get(key)
        }
        packages = {
            f"package.{name}": version
            for name, version in json.loads(outcome.get("packages") or "{}").items()
        }
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, when, len(history)) for key, value in finals.items()],
            tags=[
                RunTag(key, str(value)[:5000])
                for key, value in {**tags, **packages, "state": state.value}.items()
            ],
        )
        for file in (folder.recipe, folder.weights, folder.failure.path):
            if file.exists():
                self._client.log_artifact(run_id, str(file))
        self._client.set_terminated(run_id, status=_STATUS[state], end_time=when)


def _metrics(history: Sequence[Epoch]) -> list[Metric]:
    """Some epochs' points, on all curves."""
    return [
        Metric(key, float(value), int(1000 * epoch.time), epoch.epoch)
        for epoch in history
        for key, value in plain(epoch).items()
        if key not in NOT_METRICS and value is not None
    ]


def _is_delivered(folder: TrialFolder, state: TrialState, uri: str) -> bool:
    known = _known(folder, uri)
    return state.is_finished and known is not None and known.state == state.value


def _known(folder: TrialFolder, uri: str) -> Delivered | None:
    """What a server has of a trial; None if nothing is known of that."""
    known = folder.delivery.read()
    return known if known is not None and known.uri == uri else None


def undelivered(cells: Iterable[Cell], storage: Storage, uri: str | None) -> list[Cell]:
    """Cells with something that the tracking server does not have yet."""
    uri = uri or storage.default_tracking_uri
    result = []
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        state = folder.state()
        if state is not TrialState.WAITING and not _is_delivered(folder, state, uri):
            result.append(cell)
    return result
