"""A small sweep of a user's own file, run once by the command itself: real Ray, real MLflow."""

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from sweeps.cli import main
from sweeps.storage.sqlite_uri import sqlite_uri
from tests.sweeps.sweep_files import TINY

os.environ.pop("MLFLOW_TRACKING_URI", None)  # somebody's server is not for tests
# A shell's background jobs begin with these ignored, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
torch.set_num_threads(1)  # as in trials; more would fight with what the tests start
settings.register_profile("without deadlines", deadline=None)  # a machine may be busy
settings.load_profile("without deadlines")

SWEEPS = str(Path(sys.executable).with_name("sweeps"))
"""The command as it is installed."""

Command = Callable[..., subprocess.CompletedProcess[str]]


FIRST = (
    "test_browser.py",
    "test_page_controls.py",
    "test_docs.py",
    "chaos/test_chaos.py",
    "sweeps/running/test_faults.py",
    "sweeps/running/test_cluster.py",
    "sweeps/searching/test_search.py",
    "sweeps/tracking/test_stores.py",
    "quantlab/packs/test_packs.py",
)
"""Files that take longest. They come first, so that the processes of pytest, each of which takes
one file after another, end at the same time. The first three load no more than one processor."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of these files first, and leave the order within files as it is."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))


@dataclass(frozen=True)
class Ran:
    """What `sweeps run` left."""

    folder: Path
    """Working directory; the sweep is tiny.py in it, the storage runs/."""
    output: str


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sweeps ARGUMENTS` in a folder."""
    return subprocess.run(
        [SWEEPS, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def run_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sweeps ARGUMENTS` in a folder, within this process, which has everything imported."""
    output, errors = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(output), redirect_stderr(errors):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


@pytest.fixture
def quick_command() -> Command:
    """See `run_here`."""
    return run_here


@pytest.fixture
def tiny_copy(tiny: Ran, tmp_path: Path) -> Path:
    """A folder with `tiny` as it is after `sweeps run`; its MLflow store is the original's."""
    shutil.copytree(tiny.folder, tmp_path / "tiny")
    return tmp_path / "tiny"


@contextmanager
def made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all of pytest's processes share, and whether it is still to be filled.

    The others wait as long as the block takes. What fails within it is tried again by the next.
    """
    base = tmp_path_factory.getbasetemp()
    if base.name.startswith("popen-"):  # of one of several processes
        base = base.parent
    folder = base / f"shared-{name}"
    folder.mkdir(exist_ok=True)
    with (base / f"shared-{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / ".made"
        yield folder, not made.exists()
        made.touch()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with tables and nothing in them: MLflow takes seconds to make one."""
    with made_once(tmp_path_factory, "mlflow") as (folder, is_new):
        if is_new:
            from sweeps.tracking.experiment import (
                mlflow,  # with our settings, which it reads when imported
            )

            client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
            client.search_experiments()
        return folder / "mlflow.db"


@pytest.fixture
def storage_with_store(empty_store: Path) -> Callable[[Path], Path]:
    """Makes a storage folder that has such a database."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty_store, folder / "mlflow.db")
        return folder

    return make


@pytest.fixture
def empty_database(empty_store: Path) -> Callable[[Path], str]:
    """Puts such a database where a test wants it; returns its URI."""

    def put(path: Path) -> str:
        shutil.copy(empty_store, path)
        return sqlite_uri(path)

    return put


@pytest.fixture(scope="session")
def shared_tiny(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """See `tiny`; for fixtures that several tests share."""
    with made_once(tmp_path_factory, "tiny") as (folder, is_new):
        output = folder / "output"
        if is_new:
            (folder / "tiny.py").write_text(TINY)
            (folder / "quantlab").mkdir()  # as beside a clone; workers take it for no package
            done = run_here(folder, "run", "tiny.py", "--concurrency", "1")
            assert done.returncode == 0, done.stdout + done.stderr
            output.write_text(done.stdout)
        return Ran(folder, output.read_text())


@pytest.fixture
def tiny(shared_tiny: Ran) -> Iterator[Ran]:
    """What `sweeps run` left, which no test changes; see `tiny_copy`."""
    before = _what_tests_share(shared_tiny.folder)
    yield shared_tiny
    assert _what_tests_share(shared_tiny.folder) == before, "the test changed what others read"


def _what_tests_share(folder: Path) -> dict[str, object]:
    """The user's file, the trials, and what the storage remembers of the sweep.

    MLflow's database and the time of the last command change when a finished sweep runs again.
    """
    trials = sorted((folder / "runs" / "trials").rglob("*"))
    record = json.loads((folder / "runs" / "sweeps" / "tiny.json").read_text())
    return {
        "file": (folder / "tiny.py").read_text(),
        "trials": {str(path): path.stat().st_size for path in trials if path.is_file()},
        "remembered": {
            key: value for key, value in record.items() if key not in ("digest", "time")
        },
        "reports": sorted((folder / "runs" / "reports").rglob("*")),
    }


@pytest.fixture(scope="session")
def reported(shared_tiny: Ran, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A copy of it after `sweeps report` with all formats; nobody changes what is in it."""
    with made_once(tmp_path_factory, "reported") as (folder, is_new):
        if is_new:
            shutil.copytree(shared_tiny.folder, folder / "tiny")
            done = run_here(folder / "tiny", "report", "tiny.py", "--compare", "proxconnect")
            assert done.returncode == 0, done.stderr
            (folder / "output").write_text(done.stdout)
        return Ran(folder / "tiny", (folder / "output").read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from tests.pages import chromium  # imports selenium, which few tests need

    with chromium() as driver:
        yield driver
