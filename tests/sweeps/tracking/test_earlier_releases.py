"""Runs that earlier releases delivered to the database of a storage."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Metric, Param, Run, RunTag

from sweeps.storage import Storage
from sweeps.tracking.shown_experiments import shown_experiments
from sweeps.tracking.uri import tracking_server
from sweeps.tracking.views import has_views

pytestmark = pytest.mark.slow

ACCURACY = 0.9876543
LABELS = {"method": "PC", "set": "", "rho0": "0.1"}


class Database:
    """The database of a storage, with an experiment as earlier releases made it."""

    def __init__(self, root: Path) -> None:
        self.storage = Storage(root)
        self.client = mlflow.MlflowClient(tracking_uri=self.storage.default_tracking_uri)
        self.experiment = self.client.create_experiment(
            "digits",
            tags={
                "mlflow.experiment.primaryMetric.name": "test_accuracy",
                "mlflow.experiment.primaryMetric.greaterIsBetter": "true",
            },
        )

    def deliver(self, name: str, seed: int, configuration: str = "c1") -> str:
        """Create a run of a finished trial as earlier releases did."""
        run = self.client.create_run(
            self.experiment,
            run_name=name,
            tags={
                **LABELS,
                "fingerprint": f"{configuration}-{seed}",
                "configuration_id": configuration,
                "seed": str(seed),
                "mine": "look here",
            },
        )
        params = {**LABELS, "seed": str(seed), "epochs": "3"}
        numbers = {"seed": seed, "rho0": 0.1}
        self.client.log_batch(
            run.info.run_id,
            params=[Param(key, value) for key, value in params.items()],
            metrics=[
                *(Metric(key, value, 1000, 0) for key, value in numbers.items()),
                Metric("test_accuracy", ACCURACY, 2000, 3),
            ],
            tags=[RunTag("state", "COMPLETE")],
        )
        self.client.set_terminated(run.info.run_id, end_time=2000)
        return str(run.info.run_id)

    def run(self, run_id: str) -> Run:
        return self.client.get_run(run_id)


@pytest.fixture
def database(tmp_path: Path, storage_with_store: Callable[[Path], Path]) -> Database:
    return Database(storage_with_store(tmp_path / "runs"))


def test_they_get_the_names_tags_and_results_of_today(database: Database) -> None:
    first = database.deliver("PC rho0=0.1 seed=0", 0)
    renamed = database.deliver("the best", 1)
    alone = database.deliver("another one", 0, "c2")
    server = tracking_server(None, database.storage)
    shown_experiments(server)
    assert has_views(database.client.get_experiment(database.experiment).tags)
    names = [database.run(run_id).info.run_name for run_id in (first, renamed, alone)]
    assert names == ["seed=0 PC rho0=0.1", "the best", "another one"]
    for run_id in (first, renamed, alone):
        run = database.run(run_id)
        assert run.data.tags["configuration"] == "PC rho0=0.1"
        assert run.data.tags["mine"] == "look here"
        assert not {"method", "set", "rho0", "seed"} & run.data.tags.keys()
        assert LABELS.items() < run.data.params.items()
        assert run.data.metrics["test_accuracy"] == 0.9877
        assert (run.info.status, run.info.end_time) == ("FINISHED", 2000)

    before = [run.to_dictionary() for run in database.client.search_runs([database.experiment])]
    shown_experiments(server)
    after = [run.to_dictionary() for run in database.client.search_runs([database.experiment])]
    assert after == before


def test_an_interrupted_update_is_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = database.deliver("PC rho0=0.1 seed=0", 0)
    server = tracking_server(None, database.storage)
    with monkeypatch.context() as patched:

        def fail(*arguments: object) -> None:
            raise OSError("disk full")

        patched.setattr(mlflow.MlflowClient, "delete_tag", fail)
        assert shown_experiments(server) == {"digits": database.experiment}
    assert "the views of the UI could not be written (disk full)" in capsys.readouterr().err
    assert "seed" in database.run(run_id).data.tags
    shown_experiments(server)
    assert "seed" not in database.run(run_id).data.tags
    points = database.client.get_metric_history(run_id, "test_accuracy")
    assert [point.value for point in points] == [ACCURACY, 0.9877]


def test_experiments_of_other_programs_are_not_shown(database: Database) -> None:
    another = database.client.create_experiment("another")
    for experiment in (database.experiment, another):
        database.client.create_run(experiment, tags={"fingerprint": "0123456789abcdef"})
    shown = shown_experiments(tracking_server(None, database.storage))
    assert shown == {"digits": database.experiment}
