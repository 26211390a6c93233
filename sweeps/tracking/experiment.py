"""The MLflow experiment of a sweep: it is found, created or restored."""

import fcntl
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException

from quantlab import ConfigurationError
from quantlab.tasks import Metric
from quantlab.tasks.classification import TopAccuracy
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.storage.sharing import locked
from sweeps.tracking.access.credentials import hide_credentials
from sweeps.tracking.access.reason import reason
from sweeps.tracking.artifacts import follow_storage, require_reachable
from sweeps.tracking.run import configuration, labels
from sweeps.tracking.uri import TrackingServer
from sweeps.tracking.views import views

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# MLflow logs a traceback whenever its database fails; `Delivery.last_error` has the reason.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

ACCURACY = TopAccuracy()
"""The metric of classification."""


PRIMARY_METRIC = "mlflow.experiment.primaryMetric.name"
GREATER_IS_BETTER = "mlflow.experiment.primaryMetric.greaterIsBetter"


def experiment_tags(metric: Metric) -> dict[str, str]:
    """Return the tags with which MLflow's UI opens on the runs and shows a metric.

    Args:
        metric: the main metric of the trials' task.
    """
    return {
        "mlflow.experimentKind": "custom_model_development",
        PRIMARY_METRIC: f"test_{metric.name}",
        GREATER_IS_BETTER: str(metric.higher_is_better).lower(),
    }


def write_views(
    client: mlflow.MlflowClient, experiment_id: str, metric: Metric, cells: Iterable[Cell]
) -> None:
    """Write the saved views of trials; see `sweeps.tracking.views`.

    Args:
        client: of the server.
        experiment_id: of the trials' experiment.
        metric: the main metric of the trials' task.
        cells: the trials.

    Raises:
        MlflowException: a request failed.
    """
    found = client.get_experiment(experiment_id)
    cells = tuple(cells)
    wanted = views(
        metric.name,
        metric.higher_is_better,
        [labels(cell) for cell in cells],
        dict.fromkeys(configuration(cell) for cell in cells),
        created=found.creation_time or 0,
    )
    write_tags(client, found, wanted)


def write_tags(
    client: mlflow.MlflowClient, experiment: Experiment, tags: Mapping[str, str]
) -> None:
    """Write those tags of an experiment that differ.

    Raises:
        MlflowException: a request failed.
    """
    for key, value in tags.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


@dataclass(frozen=True)
class Connected:
    """A connection to an experiment that can be written to."""

    client: mlflow.MlflowClient
    experiment_id: str
    note: str
    """A message for the user about how the experiment was found; may be empty."""


def connect(server: TrackingServer, name: str, storage: Storage, metric: Metric) -> Connected:
    """Find the experiment, create it, or restore it if it was deleted.

    Another driver on the same storage waits meanwhile, as two that create a SQLite database at once
    would both create its tables.

    Args:
        server: the tracking server.
        name: the experiment's name.
        storage: the folder of the embedded database, and of artifacts without a server.
        metric: the main metric of the trials' task.

    Raises:
        ConfigurationError: the URI is invalid, or the server does not answer or refuses writing.
    """
    try:
        if server.is_server:
            hide_credentials()
        storage.root.mkdir(parents=True, exist_ok=True)
        with locked(storage.root / ".mlflow.lock", fcntl.LOCK_EX):
            _require_database(server, storage)
            client = mlflow.MlflowClient(tracking_uri=server.uri)
            found, note = _find(client, server, name, storage)
        require_reachable(str(found.artifact_location), name, server.named)
        # One tag is always written, so that missing permissions are noticed at once.
        for key, value in experiment_tags(metric).items():
            if found.tags.get(key) != value or key == "mlflow.experimentKind":
                client.set_experiment_tag(found.experiment_id, key, value)
    except ConfigurationError:
        raise
    except Exception as error:  # each kind of store raises its own
        raise ConfigurationError(
            f"{server.named}: cannot be used ({reason(error, server.uri)})"
        ) from error
    return Connected(client, str(found.experiment_id), note)


def _require_database(server: TrackingServer, storage: Storage) -> None:
    """Require that a database answers; MLflow itself would retry for minutes."""
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
    """Return the experiment, and a message for the user about how it was found."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server has its own artifact location; for a database, MLflow uses the working folder.
        location = None
        if not server.is_server:
            place = storage.artifacts / name
            place.mkdir(parents=True, exist_ok=True)
            location = place.as_uri()
        try:
            return client.get_experiment(client.create_experiment(name, location)), ""
        except MlflowException as error:  # another driver has created it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    if found.lifecycle_stage != LifecycleStage.DELETED:
        return found, ""
    client.restore_experiment(found.experiment_id)
    return found, (
        f"experiment {name!r} was deleted in MLflow and is restored with its runs; give the sweep "
        "another `experiment` to start without them"
    )
