"""Runs that earlier releases delivered: they get the names, tags and rounded results of today.

Earlier releases logged the labels and the seed of a trial as tags, too, and put the seed at the end
of a run's name. What cannot be changed stays: the metrics ``rho0`` and ``seed``.
"""

from collections.abc import Iterable, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag

from sweeps.tracking.run import configuration_of, rounded, run_name_of
from sweeps.tracking.views import CONFIGURATION

_SEED = "seed"
"""Only earlier releases set this tag; it is the last one that is removed."""
FILTER = f"tags.fingerprint LIKE '%' AND tags.{_SEED} LIKE '%'"
"""Search filter for the runs of earlier releases."""
_FIRST = ("method", "set")


def is_earlier(run: Run) -> bool:
    """Return whether an earlier release delivered a run of a trial."""
    return "fingerprint" in run.data.tags and _SEED in run.data.tags


def labels_of(run: Run) -> dict[str, str]:
    """Return the labels of the trial of such a run: its tags that are params, too."""
    params = run.data.params
    return {
        key: label
        for key, label in run.data.tags.items()
        if key != _SEED and params.get(key) == label
    }


def update(client: MlflowClient, runs: Sequence[Run], metrics: Iterable[str]) -> None:
    """Bring runs of earlier releases up to date.

    A name that a user chose is kept. If the update is interrupted, it is repeated the next time.

    Args:
        client: of the server.
        runs: the runs, see `is_earlier`.
        metrics: the final metrics that the views show.

    Raises:
        MlflowException: a request failed.
    """
    names = configurations(runs)
    for run in runs:
        run_id, seed = run.info.run_id, run.data.tags[_SEED]
        name = names[run_id]
        if run.info.run_name == f"{name} seed={seed}":
            client.update_run(run_id, name=run_name_of(name, seed))
        client.log_batch(
            run_id,
            metrics=[
                Metric(key, rounded(last.value), last.timestamp + 1, last.step)
                for key in metrics
                if (value := run.data.metrics.get(key)) is not None and rounded(value) != value
                for last in client.get_metric_history(run_id, key)[-1:]
            ],
            tags=[RunTag(CONFIGURATION, name)],
        )
        for key in (*labels_of(run), _SEED):
            client.delete_tag(run_id, key)


def configurations(runs: Sequence[Run]) -> dict[str, str]:
    """Return the name of the configuration of each of these runs, by the run's id.

    It is the run's name without the seed. A user may have renamed the run; then it is the name of
    another run of the same configuration or, without one, made of the labels.
    """
    known: dict[str, str] = {}
    for run in runs:
        name = configuration_of(str(run.info.run_name), run.data.tags[_SEED])
        if name != run.info.run_name:
            known.setdefault(run.data.tags.get("configuration_id", run.info.run_id), name)
    return {
        run.info.run_id: known.get(run.data.tags.get("configuration_id", run.info.run_id))
        or _name(labels_of(run))
        for run in runs
    }


def _name(labels: Mapping[str, str]) -> str:
    first = [labels[key] for key in _FIRST if labels.get(key)]
    axes = [f"{key}={label}" for key, label in labels.items() if label and key not in _FIRST]
    return " ".join([*first, *axes])
