"""The next command brings MLflow up to date with the trial folders, whatever changed in either."""

import math
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run, ViewType
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from quantlab import ConfigurationError
from quantlab.quantizers.nearest import Nearest
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialFolder
from sweeps.storage.records import Delivered, Failure, TrialState
from sweeps.tracking.delivery import bring_up_to_date
from sweeps.tracking.run import run_name
from sweeps.tracking.tracker import Tracker
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended, epoch

EPOCHS = 3


def sweep(method: str = "PC", axis: str = "rho0", **settings: Any) -> SweepSpec:
    block = Block(
        method,
        overrides={"quantization": quantized().quantization},
        axes=(Axis(axis, "quantization.sharpness.rho0", (0.1, 0.2)),),
    )
    return SweepSpec(
        **({"name": "truth", "base": small_recipe(), "blocks": (block,), "seeds": (0,)} | settings)
    )


CELLS = sweep().cells
FIRST = CELLS[0]


def train(folder: TrialFolder, *, begun: float = 1000.0, epochs: int = EPOCHS) -> None:
    """Write a finished trial with made-up results."""
    if folder.path.exists():
        shutil.rmtree(folder.path)
    folder.make()
    folder.recipe.write_text("{}\n")
    for number in range(1, epochs + 1):
        folder.append_history(epoch(number, time=begun + number, train_loss=begun / number))
    folder.weights.write_bytes(b"a network")
    folder.result.write(ended(epochs=epochs, time=begun + epochs, test_accuracy=0.25))


class Place:
    """A storage with a finished sweep that was delivered to its embedded database."""

    def __init__(self, root: Path, put: Callable[[Path], str]) -> None:
        self.storage = Storage(root)
        root.mkdir(parents=True)
        put(root / "mlflow.db")
        for number, cell in enumerate(CELLS):
            train(self.folder(cell), begun=1000.0 * (1 + number))
        self.deliver()

    def folder(self, cell: Cell = FIRST) -> TrialFolder:
        return self.storage.trial(cell.fingerprint)

    def deliver(self, cells: tuple[Cell, ...] = CELLS, uri: str | None = None) -> Tracker:
        """Deliver as `sweeps run` does when nothing is left to train."""
        tracker = Tracker("truth", self.storage, uri)
        bring_up_to_date(tracker, cells)
        return tracker

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(tracking_uri=self.storage.default_tracking_uri)

    def runs(self, view: int = ViewType.ACTIVE_ONLY, name: str = "truth") -> list[Run]:
        found = self.client.get_experiment_by_name(name)
        return (
            [] if found is None else list(self.client.search_runs([found.experiment_id], "", view))
        )

    def run(self, cell: Cell = FIRST) -> Run:
        (found,) = [r for r in self.runs() if r.data.tags["fingerprint"] == cell.fingerprint]
        return found

    def curve(self, cell: Cell = FIRST) -> list[tuple[int, float]]:
        points = self.client.get_metric_history(self.run(cell).info.run_id, "train_loss")
        return [(point.step, point.value) for point in points]

    def artifacts(self, cell: Cell = FIRST) -> set[str]:
        return {file.path for file in self.client.list_artifacts(self.run(cell).info.run_id)}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Place:
    return Place(
        tmp_path_factory.mktemp("truth") / "runs", lambda path: str(shutil.copy(empty_store, path))
    )


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy of it in a folder of its own.

    MLflow keeps databases open, and remembers the artifact location of a run by the run's id.
    """
    _artifact_repos_cache.clear()
    copied = Place.__new__(Place)
    copied.storage = Storage(tmp_path / "runs")
    shutil.copytree(original.storage.root, copied.storage.root)
    return copied


def everything(place: Place) -> list[Any]:
    return [
        (run.info.run_name, run.info.status, dict(run.data.params), place.curve(cell))
        for cell in CELLS
        for run in [place.run(cell)]
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the requests to MLflow."""
    names: list[str] = []
    for name in ("search_runs", "get_run", "get_metric_history", "create_run", "log_batch"):
        method = getattr(mlflow.MlflowClient, name)

        def counted(*arguments: Any, name: str = name, method: Any = method, **named: Any) -> Any:
            names.append(name)
            return method(*arguments, **named)

        monkeypatch.setattr(mlflow.MlflowClient, name, counted)
    return names


def test_runs_are_compared_in_one_request(place: Place, asked: list[str]) -> None:
    tracker = place.deliver()
    assert asked == ["search_runs"]
    assert tracker.num_replaced == 0


def test_a_trial_that_has_ended_takes_few_requests(
    place: Place, asked: list[str], empty_database: Callable[[Path], str]
) -> None:
    empty_database(place.storage.root / "mlflow.db")
    place.folder().delivery.path.unlink()
    place.deliver((FIRST,))
    compared, *delivered = asked
    assert compared == "search_runs"
    assert delivered == ["search_runs", "create_run", "log_batch"]


def test_a_copied_storage_without_its_database_fills_a_new_one(
    original: Place, place: Place, empty_database: Callable[[Path], str]
) -> None:
    """The same holds if a storage has lost its database."""
    before = everything(original)
    empty_database(place.storage.root / "mlflow.db")  # MLflow has not opened this path yet
    shutil.rmtree(place.storage.artifacts)
    place.deliver()
    assert everything(place) == before
    assert place.artifacts() == {"recipe.json", "weights.pt"}


def test_a_deleted_run_is_restored(place: Place, asked: list[str]) -> None:
    run_id = place.run().info.run_id
    place.client.set_tag(run_id, "mine", "a good one")
    place.client.delete_run(run_id)
    tracker = place.deliver()
    assert place.run().info.run_id == run_id
    assert place.run().data.tags["mine"] == "a good one"
    assert "create_run" not in asked
    assert tracker.num_replaced == 0


def test_a_deleted_experiment_is_restored(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(place)
    found = place.client.get_experiment_by_name("truth")
    assert found is not None
    place.client.delete_experiment(found.experiment_id)
    place.deliver()
    assert everything(place) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert "experiment 'truth' was deleted in MLflow and is restored" in line
    assert "another `experiment`" in line


def test_a_permanently_deleted_experiment_is_created_again(place: Place) -> None:
    with closing(sqlite3.connect(place.storage.root / "mlflow.db")) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            database.execute(f"DELETE FROM {table}")
        database.execute("DELETE FROM experiment_tags")
        database.execute("DELETE FROM experiments WHERE name = 'truth'")
    place.deliver()
    assert [number for number, _ in place.curve()] == [1, 2, 3]


def test_a_trial_that_was_trained_again_gets_a_new_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    old, untouched = place.run(), place.run(CELLS[1]).info.run_id
    place.client.set_tag(old.info.run_id, "mine", "look here")
    train(place.folder(), begun=5000.0)
    tracker = place.deliver()
    assert place.curve() == [(number, 5000.0 / number) for number in (1, 2, 3)]
    assert place.run().data.tags["mine"] == "look here"
    assert tracker.num_replaced == 1
    assert "sweeps: 1 MLflow run replaced: a trial" in capsys.readouterr().err
    assert place.run(CELLS[1]).info.run_id == untouched
    (deleted,) = place.runs(ViewType.DELETED_ONLY)
    assert deleted.info.run_id == old.info.run_id
    assert place.deliver().num_replaced == 0


def test_a_trial_that_is_being_trained_again_gets_a_new_run(place: Place) -> None:
    train(place.folder(), begun=5000.0, epochs=1)
    place.folder().result.remove()
    place.deliver()
    assert place.curve() == [(1, 5000.0)]
    assert place.run().info.status == "RUNNING"


def test_a_renamed_method_is_renamed_in_mlflow(place: Place) -> None:
    renamed = sweep("ProxConnect").cells
    assert [cell.fingerprint for cell in renamed] == [cell.fingerprint for cell in CELLS]
    tracker = place.deliver(renamed)
    assert tracker.num_replaced == len(CELLS)
    for cell in renamed:
        run = place.run(cell)
        assert run.info.run_name == run_name(cell)
        assert run.data.params["method"] == run.data.tags["block"] == "ProxConnect"
        assert run.data.tags["configuration"].startswith("ProxConnect rho0=")
        assert run.info.status == "FINISHED"
    assert place.curve() == [(number, 1000.0 / number) for number in (1, 2, 3)]
    assert place.deliver(renamed).num_replaced == 0
    axis = sweep("ProxConnect", axis="sharpness").cells
    assert place.deliver(axis).num_replaced == len(CELLS)
    assert place.run().data.params["sharpness"] == "0.1"


def test_a_run_name_that_a_user_set_is_kept(place: Place) -> None:
    place.client.update_run(place.run().info.run_id, name="the best")
    assert place.deliver().num_replaced == 0
    assert place.run().info.run_name == "the best"


def test_a_trial_of_two_sweeps_has_the_names_of_the_first(place: Place, asked: list[str]) -> None:
    other = sweep("another name", name="part").cells
    assert place.deliver(other).num_replaced == 0
    assert asked == ["search_runs"]
    elsewhere = Tracker("another-experiment", place.storage, None)
    assert not elsewhere.outdated(other)  # a shared trial has no second run in another experiment
    assert place.run().data.params["method"] == "PC"
    for cell in other:
        noted = place.folder(cell).delivery.read()
        assert noted is not None
        place.folder(cell).delivery.write(replace(noted, experiment_id=""))  # as earlier releases
    tracker = Tracker("another-experiment", place.storage, None)
    assert tracker.outdated(other) == list(other)
    for cell in other:
        tracker.deliver(cell)
    assert not Tracker("another-experiment", place.storage, None).outdated(other)
    assert not place.runs(name="another-experiment")


def test_a_run_that_stayed_open_is_closed(place: Place) -> None:
    for status in ("RUNNING", "FAILED", "KILLED"):
        place.client.update_run(place.run().info.run_id, status=status)
        place.deliver()
        assert place.run().info.status == "FINISHED"
        assert place.run().info.end_time == 1003_000


def test_a_trial_that_failed_again_has_the_latest_error(place: Place) -> None:
    folder = place.folder()
    folder.result.remove()
    for when, why in ((2000.0, "no memory"), (3000.0, "no disk")):
        folder.failure.write(Failure(error=why, time=when))
        place.deliver()
        run = place.run()
        assert (run.info.status, run.info.end_time) == ("FAILED", 1000 * when)
        assert (run.data.tags["state"], run.data.tags["error"]) == ("FAILED", why)
    assert place.curve() == [(number, 1000.0 / number) for number in (1, 2, 3)]


def test_a_restored_backup_is_brought_up_to_date(place: Place, original: Place) -> None:
    """The database has less than `delivery.json` says."""
    run_id = place.run().info.run_id
    with closing(sqlite3.connect(place.storage.root / "mlflow.db")) as database, database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step > 1", (run_id,))
        database.execute(
            "UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", (run_id,)
        )
    place.deliver()
    assert everything(place) == everything(original)


def test_two_storages_at_one_server_keep_each_others_runs(
    place: Place, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    uri = empty_database(tmp_path / "shared.db")
    other = Place(tmp_path / "other", empty_database)
    train(other.folder(), begun=9000.0)
    place.deliver(uri=uri)
    tracker = other.deliver(uri=uri)
    assert tracker.num_replaced == 0
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name("truth")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert len(runs) == len(CELLS)
    assert {run.data.tags["storage"] for run in runs} == {place.storage.mark()}
    assert place.deliver(uri=uri).num_replaced == 0


def test_two_storages_that_train_a_trial_at_the_same_time_have_a_run_each(
    place: Place, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    """A third one, which trains it later, adds none, unless its trial fails."""
    uri = empty_database(tmp_path / "shared.db")
    client = mlflow.MlflowClient(tracking_uri=uri)
    places = [place, Place.__new__(Place), Place.__new__(Place)]
    for number in (1, 2):
        places[number].storage = Storage(tmp_path / f"storage {number}")
        places[number].storage.root.mkdir()
    marks = [one.storage.mark() for one in places]

    def deliver(number: int, epochs: int, error: str = "") -> None:
        folder = places[number].folder()
        train(folder, begun=1000.0 * (2 + number), epochs=epochs)
        if epochs < EPOCHS:
            folder.result.remove()
        if error:
            folder.failure.write(Failure(error=error, time=9000.0))
        assert places[number].deliver((FIRST,), uri).num_replaced == 0

    def runs() -> dict[str, tuple[str, list[float]]]:
        """Storage -> status of its run and the losses in it."""
        found: dict[str, tuple[str, list[float]]] = {}
        experiment = client.get_experiment_by_name("truth")
        assert experiment is not None
        for run in client.search_runs([experiment.experiment_id]):
            points = client.get_metric_history(run.info.run_id, "train_loss")
            losses = [point.value for point in points]
            assert run.data.tags["storage"] not in found
            found[run.data.tags["storage"]] = (run.info.status, losses)
        return found

    deliver(0, 1)
    deliver(1, 1)
    assert runs() == {marks[0]: ("RUNNING", [2000.0]), marks[1]: ("RUNNING", [3000.0])}
    deliver(0, EPOCHS)
    deliver(1, EPOCHS)
    ended = {
        marks[0]: ("FINISHED", [2000.0, 1000.0, 2000.0 / 3]),
        marks[1]: ("FINISHED", [3000.0, 1500.0, 1000.0]),
    }
    assert runs() == ended
    record = place.folder().delivery.read()
    assert record is not None
    client.update_run(record.run_id, status="RUNNING")  # as if the driver had died
    place.deliver((FIRST,), uri)
    assert runs() == ended
    deliver(2, 1)
    deliver(2, EPOCHS)
    assert runs() == ended
    deliver(2, 1, error="no disk")
    assert runs() == ended | {marks[2]: ("FAILED", [4000.0])}


def test_a_run_that_another_storage_has_removed_is_not_restored(
    place: Place, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    uri = empty_database(tmp_path / "shared.db")
    client = mlflow.MlflowClient(tracking_uri=uri)
    other = Place.__new__(Place)
    other.storage = Storage(tmp_path / "other")
    train(other.folder(), begun=9000.0)
    place.deliver((FIRST,), uri)
    other.deliver((FIRST,), uri)
    record = other.folder().delivery.read()
    assert record is not None
    assert client.get_run(record.run_id).data.tags["storage"] == place.storage.mark()
    client.delete_run(record.run_id)
    other.deliver((FIRST,), uri)
    (run,) = client.search_runs([record.experiment_id])
    assert run.data.tags["storage"] == other.storage.mark()


# Moved storages


@pytest.mark.parametrize("name", ["new", "a b", "50%25", "who?", "a#b", "ü;&=+", "x@y:z"])
def test_a_moved_storage_takes_its_artifacts_along(place: Place, tmp_path: Path, name: str) -> None:
    moved = Place.__new__(Place)
    moved.storage = Storage(tmp_path / name / "runs")
    moved.storage.root.parent.mkdir()
    shutil.move(place.storage.root, moved.storage.root)
    tracker = moved.deliver()
    assert tracker.num_replaced == 0
    assert moved.artifacts() == {"recipe.json", "weights.pt"}
    train(moved.folder(), begun=5000.0)
    moved.deliver()
    assert moved.artifacts() == {"recipe.json", "weights.pt"}
    assert not place.storage.root.exists()
    files = {path.name for path in moved.storage.artifacts.rglob("*") if path.is_file()}
    assert files == {"recipe.json", "weights.pt"}


def test_a_folder_by_another_name_is_the_same(place: Place, tmp_path: Path) -> None:
    place.deliver()
    before = place.run().info.artifact_uri
    link = tmp_path / "link"
    link.symlink_to(place.storage.root)
    linked = Place.__new__(Place)
    linked.storage = Storage(link)
    train(linked.folder(), begun=5000.0)
    linked.deliver()
    assert Tracker("truth", linked.storage, None).has_delivered(CELLS)
    assert linked.run().info.artifact_uri.startswith(before.rpartition("/truth/")[0])
    assert linked.artifacts() == {"recipe.json", "weights.pt"}
    direct = Tracker("truth", place.storage, linked.storage.default_tracking_uri)
    assert direct.server.is_embedded
    assert direct.has_delivered(CELLS)


def test_an_artifact_folder_of_another_machine_is_not_created(
    place: Place, tmp_path: Path, empty_database: Callable[[Path], str]
) -> None:
    uri = empty_database(tmp_path / "shared.db")
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.create_experiment("truth", "file:///of/another/machine/mlartifacts/truth")
    with pytest.raises(ConfigurationError, match=r"does not exist on this machine; create a link"):
        Tracker("truth", place.storage, uri).connected()
    assert not Path("/of").exists()


def test_records_of_earlier_releases_are_read(place: Place) -> None:
    """They contain a URI with a password, of the same server or another one."""
    noted = place.folder().delivery.read()
    assert noted is not None
    for uri in ("http://me:geheim-1@tracking:5000/", "postgresql://me:geheim-1@db/mlflow"):
        old = Delivered(uri=uri, run_id=noted.run_id, epoch=3, state=TrialState.COMPLETE.value)
        place.folder().delivery.write(old)
        server = Tracker("truth", place.storage, uri.replace("geheim-1", "geheim-2"))
        assert server.has_delivered(CELLS)
        server.hide_secrets(CELLS)
        assert server.has_delivered(CELLS)
        assert "geheim" not in place.folder().delivery.path.read_text()


# The environment


def test_the_environments_server_is_used_unless_another_is_given(
    place: Place,
    tmp_path: Path,
    empty_database: Callable[[Path], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = empty_database(tmp_path / "group.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "bad://nobody")
    with pytest.raises(ConfigurationError, match=r"^MLFLOW_TRACKING_URI bad://nobody: cannot be"):
        Tracker("truth", place.storage, None).connected()
    place.deliver(uri=uri)
    capsys.readouterr()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert not place.deliver().outdated(CELLS)
    assert f"MLflow is at MLFLOW_TRACKING_URI {uri}" in capsys.readouterr().err
    assert Tracker("truth", place.storage, None).has_delivered(CELLS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert Tracker("truth", place.storage, None).server.is_embedded


def test_other_variables_of_mlflow_change_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, original: Place
) -> None:
    before = everything(place)
    for name, value in {
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_EXPERIMENT_ID": "77",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    }.items():
        monkeypatch.setenv(name, value)
    train(place.folder(), begun=1000.5)
    train(place.folder(), begun=1000.0)
    place.client.delete_run(place.run().info.run_id)
    place.client.set_terminated(place.run(CELLS[1]).info.run_id, "FAILED")
    place.deliver()
    assert everything(place) == before


# What MLflow accepts


@dataclass(frozen=True)
class Odd(Nearest):
    """A map with settings that MLflow does not accept as they are."""

    notes: Mapping[str, Any] = field(default_factory=dict)


def test_any_setting_of_a_recipe_is_accepted(place: Place) -> None:
    notes = {
        "long": "x" * 10_000,
        "surrogate": "a\udcffb",
        "zero": "a\0b",
        "../up": 1,
        "/": 2,
        "a//b": 3,
        "k(e)y": 4,
        "k[e]y": 5,
        "z" * 400: 6,
        **{f"option {number}": number for number in range(150)},
    }
    quantization = replace(quantized().quantization, quantizer=Odd(notes=notes))
    spec = sweep(
        "P(C) \u2192 $x$" + "y" * 180,
        base=small_recipe(),
        blocks=(
            Block(
                "P(C) \u2192 $x$" + "y" * 180,
                overrides={"quantization": quantization},
                axes=(Axis("fingerprint", "epochs", {"sweep": 3, "z" * 190: 4}),),
            ),
        ),
    )
    for cell in spec.cells:
        train(place.folder(cell))
    place.deliver(spec.cells)
    for cell in spec.cells:
        run = place.run(cell)
        assert run.info.status == "FINISHED"
        assert run.data.tags["fingerprint"] == cell.fingerprint
        assert run.data.params["fingerprint"] == cell.coordinates["fingerprint"]
        assert sum("option " in key for key in run.data.params) == 150
        assert {"4", "5", "6"} <= set(run.data.params.values())
    assert not Tracker("truth", place.storage, None).outdated(spec.cells)


def test_nan_is_left_out_and_infinity_is_bounded(place: Place) -> None:
    folder = place.folder()
    train(folder, begun=7000.0, epochs=1)
    folder.result.remove()
    folder.append_history(epoch(2, time=7002.0, train_loss=math.nan, quantization_gap=math.inf))
    folder.result.write(ended(TrialState.DIVERGED, epochs=2, time=7003.0, error="it diverged"))
    place.deliver()
    run = place.run()
    assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "DIVERGED")
    assert place.curve() == [(1, 7000.0)]
    assert run.data.metrics["quantization_gap"] > 1e300
