"""The experiments of sweeps and studies, made ready for MLflow's UI."""

import sys
from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from quantlab import ConfigurationError
from sweeps.tracking import earlier_releases
from sweeps.tracking.access.credentials import hide_credentials
from sweeps.tracking.access.reason import reason
from sweeps.tracking.experiment import GREATER_IS_BETTER, PRIMARY_METRIC, write_tags
from sweeps.tracking.uri import TrackingServer
from sweeps.tracking.views import has_views, results_of, views

_TRIALS = "tags.fingerprint LIKE '%'"
"""Search filter for the runs of trials."""


def shown_experiments(server: TrackingServer) -> dict[str, str]:
    """Return the experiments that have trials: name -> id, the one that changed last first.

    Experiments of earlier releases get their saved views and, in the storage's own database, their
    runs are brought up to date. If the database cannot be written to, a line says so.

    Args:
        server: the tracking server.

    Raises:
        ConfigurationError: the server cannot be used.
    """
    try:
        if server.is_server:
            hide_credentials()
        client = MlflowClient(tracking_uri=server.uri)
        found = [
            experiment
            for experiment in client.search_experiments(order_by=["last_update_time DESC"])
            if PRIMARY_METRIC in experiment.tags and _has_trials(client, experiment)
        ]
    except ConfigurationError:
        raise
    except Exception as error:  # each kind of store raises its own
        why = reason(error, server.uri)
        raise ConfigurationError(f"{server.named}: cannot be used ({why})") from error
    try:
        for experiment in found:
            _prepare(client, experiment, updates_runs=server.is_embedded)
    except Exception as error:  # the UI works without the views
        print(
            f"sweeps: warning: {server.named}: the views of the UI could not be written "
            f"({reason(error)})",
            file=sys.stderr,
        )
    return {experiment.name: str(experiment.experiment_id) for experiment in found}


def _has_trials(client: MlflowClient, experiment: Experiment) -> bool:
    """Whether runs of trials are left: `sweeps rm` deletes them, but not the experiment."""
    return bool(client.search_runs([experiment.experiment_id], _TRIALS, max_results=1))


def _prepare(client: MlflowClient, experiment: Experiment, updates_runs: bool) -> None:
    metric = experiment.tags[PRIMARY_METRIC].removeprefix("test_")
    earlier = list(_earlier_runs(client, experiment)) if updates_runs else []
    if not has_views(experiment.tags):
        wanted = views(
            metric,
            experiment.tags.get(GREATER_IS_BETTER) != "false",
            [earlier_releases.labels_of(run) for run in earlier],
            set(earlier_releases.configurations(earlier).values()),
            created=experiment.creation_time or 0,
        )
        write_tags(client, experiment, wanted)
    earlier_releases.update(client, earlier, results_of(metric))


def _earlier_runs(client: MlflowClient, experiment: Experiment) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], earlier_releases.FILTER, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return
