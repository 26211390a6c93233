"""The runs of a sweep, read back through MLflow."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from quantlab import ConfigurationError
from sweeps.loading import load_sweep
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialFolder
from sweeps.storage.records import Result, Stopped
from sweeps.tracking.delivery import Delivery
from sweeps.tracking.report import log_report
from sweeps.tracking.run import rounded, run_name
from sweeps.tracking.tracker import Tracker
from tests.conftest import Ran

pytestmark = pytest.mark.slow


def result_of(folder: TrialFolder) -> Result:
    result = folder.result.read()
    assert result is not None
    return result


def runs_of(store: Storage | str) -> list[mlflow.entities.Run]:
    uri = store if isinstance(store, str) else store.default_tracking_uri
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["params.rho0 DESC"]))


def curves(store: Storage | str) -> dict[str, list[tuple[int, float]]]:
    """Return all points of each run and metric."""
    uri = store if isinstance(store, str) else store.default_tracking_uri
    client = mlflow.MlflowClient(tracking_uri=uri)
    return {
        f"{run.info.run_name} {key}": [
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)
        ]
        for run in runs_of(store)
        for key in run.data.metrics
    }


def test_one_run_a_trial_with_params_tags_and_curves(tiny: Ran) -> None:
    storage = Storage(tiny.folder / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    runs = runs_of(storage)
    assert {run.data.tags["fingerprint"] for run in runs} == {c.fingerprint for c in sweep.cells}
    assert len(runs) == 6
    assert runs[0].data.tags["configuration"] == "MD rho0=1"
    run = next(run for run in runs if run.info.run_name == "seed=1 MD rho0=0.5")
    folder = storage.trial(run.data.tags["fingerprint"])
    assert run.info.status == "FINISHED"
    assert run.data.params["quantization.quantizer"].startswith("Tanh@")
    labels = {"method": "MD", "set": "binary", "rho0": "0.5", "seed": "1"}
    assert labels.items() <= run.data.params.items()
    assert not labels.keys() & (run.data.tags.keys() | run.data.metrics.keys())
    accuracy = result_of(folder).test_accuracy
    assert accuracy is not None
    assert run.data.metrics["test_accuracy"] == rounded(accuracy)
    client = mlflow.MlflowClient(tracking_uri=storage.default_tracking_uri)
    curve = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in curve] == [
        (epoch.epoch, epoch.train_loss) for epoch in folder.read_history()
    ]
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"recipe.json", "weights.pt"}


def test_delivering_again_changes_nothing(tiny: Ran, tmp_path: Path) -> None:
    """It also holds if the records of delivery were lost."""
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    before = curves(storage)
    for cell in sweep.cells:
        storage.trial(cell.fingerprint).delivery.remove()
    assert not Tracker(sweep.name, storage, None).outdated(sweep.cells)
    tracker = Tracker(sweep.name, storage, None)
    for cell in sweep.cells:
        tracker.deliver(cell)
        tracker.deliver(cell)
    assert curves(storage) == before
    assert tracker.num_replaced == 0


def test_a_report_is_logged_to_one_run_of_the_sweep(tiny: Ran, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    tracker = Tracker(sweep.name, storage, None)
    assert tracker.has_delivered(sweep.cells)
    (tmp_path / "report").mkdir()
    missing = [tmp_path / "report" / "missing.html"]
    for text in ("first", "second"):
        with pytest.raises(ConfigurationError, match="could not be logged"):
            log_report(tracker, "sweep tiny", "small", tmp_path / "report", missing)
        (failed,) = [run for run in runs_of(storage) if "report_of" in run.data.tags]
        assert failed.info.status == "FAILED"
        (tmp_path / "report" / "report.html").write_text(text)
        (tmp_path / "report" / "mine.txt").write_text("not of the report")
        files = [tmp_path / "report" / "report.html"]
        page = log_report(tracker, "sweep tiny", "small", tmp_path / "report", files)
        assert page == ""
    runs = runs_of(storage)
    (own,) = [run for run in runs if run.data.tags.get("report_of") == "sweep tiny"]
    assert len(runs) == 7
    assert (own.info.run_name, own.info.status) == ("sweep tiny", "FINISHED")
    client = mlflow.MlflowClient(tracking_uri=storage.default_tracking_uri)
    file = client.download_artifacts(own.info.run_id, "report/report.html", str(tmp_path))
    assert Path(file).read_text() == "second"
    artifacts = client.list_artifacts(own.info.run_id, "report")
    assert [item.path for item in artifacts] == ["report/report.html"]


def test_a_report_that_cannot_be_logged_is_still_there(tiny: Ran, tmp_path: Path) -> None:
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    tracker = Tracker(sweep.name, Storage(tmp_path), "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"--tracking-uri http.*: cannot be"):
        log_report(tracker, "sweep tiny", "", tmp_path, [])


def test_the_same_trials_of_another_storage_are_the_same_runs(
    tiny: Ran, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    """They were trained elsewhere at another time, and delivered to the same server.

    A run that was not closed there is not changed, and the second storage adds its own.
    """
    uri = empty_database(tmp_path / "shared.db")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    cells = sweep.cells[:3]
    unfinished = cells[0]
    first, second = Storage(tmp_path / "first"), Storage(tmp_path / "second")
    for storage, later in ((first, 0), (second, 1000)):
        shutil.copytree(tiny.folder / "runs" / "trials", storage.root / "trials")
        for cell in cells:
            folder = storage.trial(cell.fingerprint)
            history = folder.read_history()
            folder.history.write_text("")
            for epoch in history:
                folder.append_history(replace(epoch, time=epoch.time + later))
            result = result_of(folder)
            folder.result.write(replace(result, time=result.time + later))
    Tracker(sweep.name, first, uri).deliver(cells[0])
    assert Tracker(sweep.name, second, uri).outdated(cells) == list(cells[1:])
    for cell in cells:
        Tracker(sweep.name, first, uri).deliver(cell)
    before = curves(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = [r for r in runs_of(uri) if r.info.run_name == run_name(unfinished)]
    theirs = {r.info.run_id for r in runs_of(uri)}
    client.update_run(run.info.run_id, status="RUNNING")
    tracker = Tracker(sweep.name, second, uri)
    assert tracker.outdated(cells) == [unfinished]
    for cell in cells:
        tracker.deliver(cell)
    assert tracker.num_replaced == 0
    assert Tracker(sweep.name, first, uri).outdated(cells) == [unfinished]
    (own,) = [r for r in runs_of(uri) if r.info.run_id not in theirs]
    assert (own.info.run_name, own.info.status) == (run.info.run_name, "FINISHED")
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    Tracker(sweep.name, first, uri).deliver(unfinished)
    assert {r.info.status for r in runs_of(uri)} == {"FINISHED"}
    client.delete_run(own.info.run_id)
    after = curves(uri)
    for name in (
        "test_accuracy",
        "validation_accuracy",
        "test_accuracy_top5",
        "validation_accuracy_top5",
        "seconds_total",
        "file_bytes",
        "code_bits",
        "compression",
    ):  # of the run that was closed again
        after[f"{run_name(unfinished)} {name}"] = before[f"{run_name(unfinished)} {name}"]
    assert after == before


def begin_again(storage: Storage, cell: Cell) -> None:
    """Take a finished trial back to its first epoch, without a run on the server."""
    client = mlflow.MlflowClient(tracking_uri=storage.default_tracking_uri)
    (gone,) = [run for run in runs_of(storage) if run.info.run_name == run_name(cell)]
    client.delete_run(gone.info.run_id)
    folder = storage.trial(cell.fingerprint)
    folder.delivery.remove()
    folder.result.remove()
    folder.rewind_history(1)


def test_the_run_of_a_pruned_trial_is_closed_until_it_continues(tiny: Ran, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    cell, tracker = sweep.cells[0], Tracker(sweep.name, storage, None)
    folder = storage.trial(cell.fingerprint)
    result, history = result_of(folder), folder.read_history()

    def run() -> mlflow.entities.Run:
        tracker.deliver(cell)
        (found,) = [run for run in runs_of(storage) if run.info.run_name == run_name(cell)]
        return found

    begin_again(storage, cell)
    assert run().info.status == "RUNNING"
    folder.stopped.write(Stopped(by="study mine", time=history[0].time))
    stopped = run()
    assert stopped.info.status == "KILLED"
    assert (stopped.data.tags["state"], stopped.data.tags["by"]) == ("STOPPED", "study mine")
    folder.stopped.remove()
    folder.append_history(history[1])
    assert run().info.status == "RUNNING"
    folder.result.write(result)
    last = run()
    assert (last.info.status, last.data.tags["state"]) == ("FINISHED", "COMPLETE")


def test_epochs_that_another_command_has_delivered_are_not_delivered_again(
    tiny: Ran, tmp_path: Path
) -> None:
    """One command takes a trial over from another, and again; epochs are repeated meanwhile."""
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    cell = next(cell for cell in sweep.cells if cell.block == "MD")
    one, other = (Tracker(sweep.name, storage, None) for _ in range(2))
    folder = storage.trial(cell.fingerprint)
    result, history = result_of(folder), folder.read_history()
    begin_again(storage, cell)
    one.deliver(cell)
    folder.append_history(history[1])
    other.deliver(cell)
    folder.rewind_history(1)
    folder.append_history(replace(history[1], time=history[1].time + 9))
    one.deliver(cell)
    folder.append_history(history[2])
    folder.result.write(result)
    one.deliver(cell)
    points = curves(storage)[f"{run_name(cell)} train_loss"]
    assert points == [(epoch.epoch, epoch.train_loss) for epoch in history]


def test_another_server_gets_everything(
    tiny: Ran, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    uri = empty_database(tmp_path / "other.db")
    tracker = Tracker(sweep.name, storage, uri)
    assert tracker.outdated(sweep.cells) == list(sweep.cells)
    for cell in sweep.cells:
        tracker.deliver(cell)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert experiment.artifact_location == (tmp_path / "runs" / "mlartifacts" / "tiny").as_uri()
    assert len(client.search_runs([experiment.experiment_id])) == 6


class Unreliable:
    """A tracker whose first deliveries fail, and which never accepts some cells."""

    def __init__(self, *, away: int = 0, never: frozenset[str] = frozenset()) -> None:
        self.away = away
        self.never = never
        self.delivered: list[str] = []

    def deliver(self, cell: Cell) -> None:
        if self.away > 0:
            self.away -= 1
            raise ConnectionError("server away")
        if cell.fingerprint in self.never:
            raise ValueError("refused for good")
        self.delivered.append(cell.fingerprint)


def deliver_all(tracker: Unreliable, cells: tuple[Cell, ...]) -> Delivery:
    delivery = Delivery(tracker, retry_seconds=0.01)  # type: ignore[arg-type]
    for cell in cells:
        delivery.announce(cell)
    return delivery


def test_what_is_prepared_is_prepared_with_the_first_trial_if_there_was_none() -> None:
    """As the views of MLflow's UI are; a failure is repeated and holds up no trial."""
    cells = load_sweep("digits").cells[:3]
    prepared: list[tuple[Cell, ...]] = []

    def prepare(some: Sequence[Cell]) -> None:
        prepared.append(tuple(some))
        if len(prepared) == 1:
            raise ConnectionError("server away")

    tracker = Unreliable()
    delivery = Delivery(tracker, prepare=prepare)  # type: ignore[arg-type]
    for cell in cells:
        delivery.announce(cell)
    delivery.finish()
    assert len(tracker.delivered) == 3
    assert prepared == [(cells[0],), (cells[1],)]


def test_delivery_tries_again_when_the_server_is_back() -> None:
    cells = load_sweep("digits").cells[:8]
    tracker = Unreliable(away=5)
    delivery = deliver_all(tracker, cells)
    deadline = time.monotonic() + 20
    while len(tracker.delivered) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    delivery.finish()
    assert sorted(tracker.delivered) == sorted(cell.fingerprint for cell in cells)
    assert delivery.undelivered == 0


def test_one_refused_trial_does_not_hold_up_the_others() -> None:
    cells = load_sweep("digits").cells[:8]
    tracker = Unreliable(never=frozenset({cells[0].fingerprint, cells[3].fingerprint}))
    delivery = deliver_all(tracker, cells)
    delivery.finish()
    assert len(tracker.delivered) == 6
    assert delivery.undelivered == 2
    assert "refused for good" in delivery.last_error


def test_a_dead_server_does_not_hold_up_the_end() -> None:
    cells = load_sweep("digits").cells[:50]
    tracker = Unreliable(away=1000)
    delivery = deliver_all(tracker, cells)
    delivery.finish()
    assert 1000 - tracker.away <= 10
    assert delivery.undelivered == 50


def test_a_run_that_was_deleted_before_its_trial_had_ended_is_created_again(
    tiny: Ran, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    storage = Storage(tmp_path / "runs")
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    uri = empty_database(tmp_path / "other.db")
    tracker = Tracker(sweep.name, storage, uri)
    cell = sweep.cells[0]
    folder = storage.trial(cell.fingerprint)
    result, history = result_of(folder), folder.read_history()
    folder.result.remove()
    folder.rewind_history(1)
    tracker.deliver(cell)
    known = folder.delivery.read()
    assert known is not None
    mlflow.MlflowClient(tracking_uri=uri).delete_run(known.run_id)
    folder.append_history(history[1])
    folder.result.write(result)
    tracker.deliver(cell)
    again = folder.delivery.read()
    assert again is not None
    assert again.run_id != known.run_id
    client = mlflow.MlflowClient(tracking_uri=uri)
    curve = client.get_metric_history(again.run_id, "train_loss")
    assert [point.step for point in curve] == [1, 2]


def test_an_invalid_uri_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--tracking-uri bad://x: cannot be used"):
        Tracker("any", Storage(tmp_path), "bad://x").connected()
