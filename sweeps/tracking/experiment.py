"""The experiment of a sweep: found on its tracking server, made, or taken out of the bin."""

import fcntl
import logging
from dataclasses import dataclass
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException

from quantlab import ConfigurationError
from quantlab.errors import first_line
from sweeps.secrets import hide
from sweeps.storage.folder import Storage
from sweeps.storage.sharing import locked
from sweeps.tracking.artifacts import follow_storage, require_reachable
from sweeps.tracking.uri import TrackingServer

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

_ADVICE = {
    "UNAUTHENTICATED": "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED": "; ask for the right to edit the experiment, or give the sweep another "
    "`experiment`",
}


@dataclass(frozen=True)
class Connected:
    """An experiment that can be written to."""

    client: mlflow.MlflowClient
    experiment_id: str
    note: str
    """What people should know of how it was found; may be empty."""


def connect(server: TrackingServer, name: str, storage: Storage) -> Connected:
    """Find the experiment, or make it, or take it out of the bin.

    Another driver on the same storage waits meanwhile: two that make a SQLite store at once
    would both make its tables.

    Args:
        server: the tracking server.
        name: of the experiment.
        storage: where the embedded database and the artifacts of other databases lie.

    Raises:
        ConfigurationError: the server does not answer or may not be written to, or its URI is none.
    """
    try:
        storage.root.mkdir(parents=True, exist_ok=True)
        with locked(storage.root / ".mlflow.lock", fcntl.LOCK_EX):
            _require_database(server, storage)
            client = mlflow.MlflowClient(tracking_uri=server.uri)
            found, note = _find(client, server, name, storage)
        require_reachable(str(found.artifact_location), name, server.named)
        # What is there already is written again: who may not write learns of it at once.
        for key, value in EXPERIMENT_TAGS.items():
            if found.tags.get(key) != value or key == "mlflow.experimentKind":
                client.set_experiment_tag(found.experiment_id, key, value)
    except ConfigurationError:
        raise
    except Exception as error:  # each kind of store raises its own
        raise ConfigurationError(f"{server.named}: cannot be used ({reason(error)})") from error
    return Connected(client, str(found.experiment_id), note)


def reason(error: Exception) -> str:
    """Why a server did not do something, in a line with nothing secret."""
    advice = _ADVICE.get(str(getattr(error, "error_code", "")), "")
    first: BaseException = error
    while (before := first.__cause__ or first.__context__) is not None:
        first = before
    if isinstance(first, OSError) and first.strerror:  # libraries wrap that four times
        return hide(first.strerror) + advice
    return hide(first_line(error)) + advice


def _require_database(server: TrackingServer, storage: Storage) -> None:
    """MLflow itself would try again for minutes, whatever the reason."""
    if server.is_embedded:
        follow_storage(storage)
    if not server.is_database:
        return
    url = sqlalchemy.engine.make_url(server.uri)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(url)
    try:
        sqlalchemy.inspect(engine).has_table("experiments")
    finally:
        engine.dispose()


def _find(
    client: mlflow.MlflowClient, server: TrackingServer, name: str, storage: Storage
) -> tuple[Experiment, str]:
    """The experiment, and what people should know of it."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server knows its own place for artifacts; a bare database would take the working folder.
        location = None
        if not server.is_server:
            place = storage.artifacts / name
            place.mkdir(parents=True, exist_ok=True)
            location = place.as_uri()
        try:
            return client.get_experiment(client.create_experiment(name, location)), ""
        except MlflowException as error:  # a driver of another storage has made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    if found.lifecycle_stage != LifecycleStage.DELETED:
        return found, ""
    client.restore_experiment(found.experiment_id)
    return found, (
        f"experiment {name!r} was in MLflow's bin, and is taken out again with its runs; to begin "
        "afresh, give the sweep another `experiment`"
    )
