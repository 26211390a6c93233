"""Stores under load and with failures: every record arrives exactly once.

Processes, PostgreSQL and MLflow's server are real; a proxy makes the network fail.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import mlflow
import pytest

from quantlab import ConfigurationError, EpochRecord
from quantlab.datasets.digits import Digits
from quantlab.tasks.classification import Classification
from sweeps.printing.secrets import hide
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import values_of
from sweeps.tracking.delivery import Delivery, bring_up_to_date
from sweeps.tracking.report import log_report
from sweeps.tracking.run import FINAL_METRICS
from sweeps.tracking.tracker import Tracker
from sweeps.worker.trial import run_trial
from tests import forked
from tests.quantlab.recipes import quantized, small_recipe
from tests.reverse_proxy import Authority, Proxy, reverse_proxy
from tests.services import (
    MlflowServer,
    PostgreSQL,
    mlflow_server,
    needs_postgresql,
    network,
    postgresql,
    wait_until,
)

pytestmark = pytest.mark.slow

PROCESSES = 4
EPOCHS = 9
SWEEP = SweepSpec(
    name="stores",
    base=small_recipe(
        dataset=Digits(train_images=40, validation_images=20, test_images=20),
        epochs=EPOCHS,
        batch_size=20,
    ),
    blocks=(
        Block("FP"),
        Block(
            "PC",
            overrides={"quantization": quantized().quantization, "batchnorm_epochs": 1},
            axes=(Axis("rho0", "quantization.sharpness.rho0", (0.05,)),),
        ),
    ),
    seeds=(0, 1, 2, 3),
)
ONE_VALUE = {
    "seed",
    "rho0",
    "seconds_total",
    *FINAL_METRICS,
    *(f"validation_{metric.name}" for metric in Classification().metrics),
    *(f"test_{metric.name}" for metric in Classification().metrics),
}
"""Metrics of a trial, not of its epochs."""
NOT_METRICS = ("stage", "epoch", "step", "time", "weight_histogram", "data_content")
"""Of a record in a trial's history."""


def connected(experiment: str, storage: Storage, uri: str) -> Tracker:
    """Make a tracker, and its experiment."""
    tracker = Tracker(experiment, storage, uri)
    tracker.connected()
    return tracker


def train(
    cells: Sequence[Cell], storage: Storage, announce: Callable[[Cell], None] = lambda cell: None
) -> None:
    for cell in cells:

        def report(record: EpochRecord, cell: Cell = cell) -> None:
            announce(cell)

        folder = storage.trial(cell.fingerprint)
        run_trial(cell.recipe, folder, data_dir=storage.root, report=report)


def copy(source: TrialFolder, target: TrialFolder, epochs: int | None = None) -> None:
    """Copy a finished trial, or its state after some epochs."""
    if epochs is None:
        ignored = shutil.ignore_patterns(source.delivery.path.name)
        shutil.copytree(source.path, target.path, dirs_exist_ok=True, ignore=ignored)
        return
    target.path.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.recipe, target.recipe)
    lines = source.history.read_text(encoding="utf-8").splitlines(keepends=True)
    target.history.write_text("".join(lines[:epochs]), encoding="utf-8")


def copied(trained: Storage, root: Path) -> Storage:
    """Copy the trials to a storage from which nothing was delivered."""
    storage = Storage(root)
    for cell in SWEEP.cells:
        copy(trained.trial(cell.fingerprint), storage.trial(cell.fingerprint))
    return storage


def delivered(cells: Sequence[Cell], storage: Storage) -> Callable[[], bool]:
    """Return a check that the latest state of these trials was delivered."""

    def holds() -> bool:
        folders = [storage.trial(cell.fingerprint) for cell in cells]
        noted = [(folder.delivery.read(), folder.state()) for folder in folders]
        return all(known is not None and known.state == state.value for known, state in noted)

    return holds


def assert_everything_is_there_once(
    uri: str, experiment: str, trained: Storage, cells: Sequence[Cell] = SWEEP.cells
) -> None:
    """Require one finished run a trial, with exactly the values of its history in its curves."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert sorted(run.data.tags["fingerprint"] for run in runs) == sorted(
        cell.fingerprint for cell in cells
    )
    for run in runs:
        folder = trained.trial(run.data.tags["fingerprint"])
        result = folder.result.read()
        assert result is not None
        history = [values_of(epoch) for epoch in folder.read_history()]
        assert run.info.status == "FINISHED"
        assert run.data.tags["state"] == "COMPLETE"
        assert run.data.params["epochs"] == str(EPOCHS)
        assert run.data.metrics["test_accuracy"] == result.test_accuracy
        curves = {
            key: [
                (record["epoch"], record[key], int(1000 * record["time"]))
                for record in history
                if record[key] is not None
            ]
            for key in history[0]
            if key not in NOT_METRICS
        }
        assert len(curves["train_loss"]) >= EPOCHS
        assert set(run.data.metrics) - ONE_VALUE == {key for key, curve in curves.items() if curve}
        for key in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, key)
            if key in ONE_VALUE:
                assert len(points) == 1
            else:
                assert [(p.step, p.value, p.timestamp) for p in points] == curves[key]
        artifacts = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        assert artifacts == ["recipe.json", "weights.pt"]


# Four processes at once


@dataclass
class Together:
    """A barrier at which the processes of the pool start together."""

    barrier: object = None


TOGETHER = Together()


def set_barrier(barrier: object) -> None:
    TOGETHER.barrier = barrier


def train_share(number: int, root: Path) -> None:
    train(SWEEP.cells[number::PROCESSES], Storage(root))


def has_delivered_epochs(folder: TrialFolder) -> bool:
    known = folder.delivery.read()
    return known is not None and known.epoch == folder.read_history()[-1].epoch


def deliver_share(number: int, trained: Path, root: Path, uri: str) -> int:
    """Announce trials repeatedly while they are trained, as a driver does."""
    source, storage = Storage(trained), Storage(root / str(number))
    cells = SWEEP.cells[number::PROCESSES]
    delivery = Delivery(connected(SWEEP.name, storage, uri), retry_seconds=0.1)
    TOGETHER.barrier.wait(60)  # type: ignore[attr-defined]
    for epochs in (EPOCHS // 3, 2 * EPOCHS // 3, None):
        for cell in cells:
            copy(source.trial(cell.fingerprint), storage.trial(cell.fingerprint), epochs)
            delivery.announce(cell)
        for cell in cells:
            folder = storage.trial(cell.fingerprint)
            wait_until("the epochs so far are delivered", partial(has_delivered_epochs, folder))
    wait_until("everything is delivered", delivered(cells, storage))
    delivery.finish()
    return delivery.undelivered


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    barrier = forked.PROCESSES.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, forked.PROCESSES, set_barrier, (barrier,)) as pool:
        yield pool


@pytest.fixture(scope="module")
def trained(processes: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    root = tmp_path_factory.mktemp("trained")
    for share in [processes.submit(train_share, number, root) for number in range(PROCESSES)]:
        share.result()
    return Storage(root)


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """With MLflow's tables in the database `tables`, which takes seconds for each anew."""
    with postgresql() as server:
        mlflow.MlflowClient(tracking_uri=server.create("tables")).search_experiments()
        yield server


@pytest.fixture(scope="module")
def server(
    database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    with mlflow_server(
        database.create("server", "tables"), tmp_path_factory.mktemp("server")
    ) as running:
        yield running


@pytest.mark.parametrize(
    "store",
    [
        "sqlite",
        pytest.param("postgresql", marks=needs_postgresql),
        pytest.param("server over postgresql", marks=needs_postgresql),
    ],
)
def test_four_processes_at_once(
    store: str,
    processes: ProcessPoolExecutor,
    trained: Storage,
    empty_database: Callable[[Path], str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if store == "sqlite":
        uri = empty_database(tmp_path / "mlflow.db")
    elif store == "postgresql":
        uri = request.getfixturevalue("database").create("direct", "tables")
    else:
        uri = request.getfixturevalue("server").uri
    Tracker(SWEEP.name, Storage(tmp_path), uri).connected()
    shares = [
        processes.submit(deliver_share, number, trained.root, tmp_path, uri)
        for number in range(PROCESSES)
    ]
    for share in shares:
        assert share.result() == 0
    assert_everything_is_there_once(uri, SWEEP.name, trained)


# Failures


def blocked(database: PostgreSQL) -> Callable[[], bool]:
    """Return a check that a statement waits for a lock."""

    def holds() -> bool:
        connection = database.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            (count,) = cursor.fetchone()
        connection.close()
        return bool(count)

    return holds


@needs_postgresql
def test_a_server_that_is_killed_within_a_batch_and_started_again(
    server: MlflowServer, database: PostgreSQL, trained: Storage, tmp_path: Path
) -> None:
    """A lock blocks a trial's later epochs, after the first ones were delivered."""
    storage = Storage(tmp_path)
    cells = SWEEP.cells[:5]
    first, others = cells[0], cells[1:]
    delivery = Delivery(connected("killed", storage, server.uri), retry_seconds=0.02)
    folder = storage.trial(first.fingerprint)
    copy(trained.trial(first.fingerprint), folder, epochs=2 * EPOCHS // 3)
    delivery.announce(first)
    wait_until("the epochs so far are delivered", partial(has_delivered_epochs, folder))
    lock = database.connect("server")
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE metrics IN SHARE ROW EXCLUSIVE MODE")
    copy(trained.trial(first.fingerprint), folder)
    delivery.announce(first)
    wait_until("a batch is blocked", blocked(database))
    server.kill()
    lock.close()
    for cell in others:
        copy(trained.trial(cell.fingerprint), storage.trial(cell.fingerprint))
        delivery.announce(cell)
    wait_until("those after it fail too", lambda: delivery.last_error.startswith(others[-1].name))
    assert not any(delivered([cell], storage)() for cell in cells)
    server.start()
    wait_until("everything is delivered", delivered(cells, storage))
    delivery.finish()
    assert delivery.undelivered == 0
    assert_everything_is_there_once(server.uri, "killed", trained, cells)


@needs_postgresql
def test_a_database_that_is_stopped_within_a_batch(
    database: PostgreSQL, trained: Storage, tmp_path: Path
) -> None:
    """It stops in the first batch of a run, whose params are written and whose metrics are not.

    Earlier failures do not matter at the end of the sweep, as the database is back.
    """
    storage = copied(trained, tmp_path)
    cells = SWEEP.cells[:3]
    uri = database.create("stopped", "tables")
    delivery = Delivery(connected("stopped", storage, uri), retry_seconds=0.5)
    lock = database.connect("stopped")
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE metrics IN SHARE ROW EXCLUSIVE MODE")
    for cell in cells:
        delivery.announce(cell)
    wait_until("a batch is blocked", blocked(database))
    database.stop()
    failed: set[str] = set()

    def each_has_failed() -> bool:
        failed.add(delivery.last_error.partition(":")[0])
        return failed >= {cell.name for cell in cells}

    wait_until("each trial's delivery has failed", each_has_failed)
    database.start()
    delivery.finish()
    assert delivery.undelivered == 0
    assert_everything_is_there_once(uri, "stopped", trained, cells)


@needs_postgresql
def test_answers_that_are_lost(server: MlflowServer, trained: Storage, tmp_path: Path) -> None:
    """The server has stored the request but its answer was lost; repeating it changes nothing."""
    storage = copied(trained, tmp_path)
    cells = SWEEP.cells[:1]
    with network(server.port) as between:
        delivery = Delivery(connected("lost", storage, between.uri), retry_seconds=0.01)
        between.answers_to_lose += [b"runs/create", *[b"runs/log-batch"] * 4]
        between.answers_to_lose += [b"mlflow-artifacts/artifacts", b"runs/update"]
        delivery.announce(cells[0])
        wait_until("it is delivered", delivered(cells, storage))
        delivery.finish()
        assert not between.answers_to_lose
    assert_everything_is_there_once(server.uri, "lost", trained, cells)


@needs_postgresql
def test_a_slow_server_does_not_hold_up_training(server: MlflowServer, tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    cells = SWEEP.cells[:2]
    with network(server.port) as between:
        delivery = Delivery(connected("slow", storage, between.uri), retry_seconds=0.1)
        between.flows.clear()
        train(cells, storage, delivery.announce)
        for cell in cells:
            delivery.announce(cell)
        client = mlflow.MlflowClient(tracking_uri=server.uri)
        experiment = client.get_experiment_by_name("slow")
        assert experiment is not None
        assert not client.search_runs([experiment.experiment_id])
        assert not any(delivered([cell], storage)() for cell in cells)
        states = {storage.trial(cell.fingerprint).state() for cell in cells}
        assert states == {TrialState.COMPLETE}
        between.flows.set()
        delivery.finish()
        assert delivery.undelivered == 0
    assert_everything_is_there_once(server.uri, "slow", storage, cells)


# The folders are the truth


@needs_postgresql
@pytest.mark.parametrize("store", ["postgresql", "server over postgresql"])
def test_deleted_and_renamed_runs_are_brought_up_to_date(
    store: str, trained: Storage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The same as with SQLite in `test_folders_are_the_truth`."""
    if store == "postgresql":
        uri = request.getfixturevalue("database").create("truth", "tables")
    else:
        uri = request.getfixturevalue("server").uri
    storage, cells = copied(trained, tmp_path), SWEEP.cells[:2]
    bring_up_to_date(Tracker("truth", storage, uri), cells)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("truth")
    assert experiment is not None
    client.delete_run(client.search_runs([experiment.experiment_id])[0].info.run_id)
    bring_up_to_date(Tracker("truth", storage, uri), cells)
    client.delete_experiment(experiment.experiment_id)
    bring_up_to_date(Tracker("truth", storage, uri), cells)
    assert_everything_is_there_once(uri, "truth", trained, cells)
    renamed = [replace(cell, method="P(C) \u2192 \U0001d54f" + 190 * "y") for cell in cells]
    tracker = Tracker("truth", storage, uri)
    bring_up_to_date(tracker, renamed)
    assert tracker.num_replaced == len(cells)
    assert_everything_is_there_once(uri, "truth", trained, cells)
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.params["method"] for run in runs} == {renamed[0].method}
    page = log_report(tracker, "sweep truth", "", storage.root, [storage.root / ".mark"])
    assert page.startswith(f"{uri}/#/experiments/" if store != "postgresql" else "")
    assert bool(page) is (store != "postgresql")


# Behind a proxy

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials; returns the path of MLflow's file of them."""
    for name in ("USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "home" / ".mlflow" / "credentials"
    file.parent.mkdir(parents=True)
    return file


def log_in(way: str, proxy: Proxy, file: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the proxy accept one user or token only, and MLflow have it."""
    proxy.accepted.clear()
    if way == "token":
        proxy.accepted.add(f"Bearer {SECRET}")
        patch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        return
    proxy.accept("somebody", SECRET)
    names = {"mlflow_tracking_username": "somebody", "mlflow_tracking_password": SECRET}
    if way == "file":
        lines = [f"{name} = {value}" for name, value in names.items()]
        file.write_text("\n".join(["[mlflow]", *lines]) + "\n")
    else:
        for name, value in names.items():
            patch.setenv(name.upper(), value)


@needs_postgresql
def test_a_server_behind_https_a_path_and_a_password(
    server: MlflowServer,
    trained: Storage,
    authority: Authority,
    nobody: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells, storage = SWEEP.cells[:2], Storage(tmp_path / "runs")
    for cell in cells:
        copy(trained.trial(cell.fingerprint), storage.trial(cell.fingerprint))
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority.file))
    with reverse_proxy(server.port, authority.issue()) as proxy:
        with monkeypatch.context() as patch:
            log_in("file", proxy, nobody, patch)
            tracker = Tracker("proxy", storage, f"{proxy.uri}/")
            bring_up_to_date(tracker, cells[:1])
        assert_everything_is_there_once(server.uri, "proxy", trained, cells[:1])
        assert tracker.server.page == proxy.uri
        assert hide(f"a library says {SECRET}") == "a library says ***"
        nobody.unlink()
        with monkeypatch.context() as patch:
            log_in("environment", proxy, nobody, patch)
            delivery = Delivery(tracker, retry_seconds=0.05)
            proxy.is_behind_up = False
            delivery.announce(cells[1])
            wait_until("the proxy answers", lambda: "answers 502" in delivery.last_error)
            proxy.is_behind_up = True
            wait_until("everything is delivered", delivered(cells, storage))
            delivery.finish()
        assert_everything_is_there_once(server.uri, "proxy", trained, cells)
        with monkeypatch.context() as patch:
            log_in("token", proxy, nobody, patch)
            assert Tracker("proxy", storage, proxy.uri).outdated(cells) == []
        assert all(path.startswith("/some/mlflow/api/") for path in proxy.asked)
    assert SECRET not in capsys.readouterr().err
    for file in storage.root.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


def why_not(uri: str, storage: Storage) -> str:
    """Why a server cannot be used, in one line."""
    with pytest.raises(ConfigurationError) as raised:
        Tracker("refused", storage, uri).connected()
    text = str(raised.value)
    assert "\n" not in text
    assert SECRET not in text
    found = re.fullmatch(r"--tracking-uri \S+: cannot be used \((.*)\)", text)
    assert found is not None, text
    return found[1]


def test_the_reason_says_what_to_do(
    authority: Authority,
    nobody: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, nothing = Storage(tmp_path / "runs"), 9
    with reverse_proxy(nothing) as proxy:
        proxy.accept("somebody", "another password")
        assert why_not(proxy.uri, storage).startswith("it requires a password or a token; set MLFL")
        with_password = proxy.uri.replace("://", f"://somebody:{SECRET}@")
        assert why_not(with_password, storage).startswith("it does not accept the password in the ")
        log_in("file", proxy, nobody, monkeypatch)
        proxy.accepted = {"Basic nobody"}
        assert why_not(proxy.uri, storage).startswith(
            "it does not accept the password in ~/.mlflow/credentials; correct it"
        )
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
        assert "accept MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_USERNAME; correct" in why_not(
            proxy.uri, storage
        )
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
        nobody.write_text("mlflow_tracking_password without a section\n")
        with pytest.raises(ConfigurationError, match=r"~/\.mlflow/credentials: cannot be read"):
            Tracker("refused", storage, proxy.uri).connected()
        nobody.unlink()
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        assert "it does not accept MLFLOW_TRACKING_TOKEN; correct it" in why_not(proxy.uri, storage)
        proxy.accepted = set()
        proxy.is_behind_up = False
        assert why_not(proxy.uri, storage).startswith(
            "the proxy in front of MLflow answers 502, because MLflow does not answer it; start"
        )
        assert why_not(proxy.uri.replace("/some", "/any"), storage).startswith(
            "there is no MLflow server at this path; correct"
        )
        assert why_not(proxy.uri.replace("http", "https"), storage).startswith(
            "it does not speak HTTPS; use http://"
        )
    with reverse_proxy(nothing, authority.issue()) as proxy:
        assert why_not(proxy.uri, storage).endswith(
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file with the authority's certificate"
        )
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority.file))
    with reverse_proxy(nothing, authority.issue(days=-1)) as proxy:
        assert why_not(proxy.uri, storage).startswith("its certificate has expired; renew it")
    with reverse_proxy(nothing, authority.issue(host="127.0.0.2")) as proxy:
        assert "use the name of the server in its certificate" in why_not(proxy.uri, storage)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "missing.pem"))
    with reverse_proxy(nothing, authority.issue()) as proxy:
        assert "missing.pem" in why_not(proxy.uri, storage)
