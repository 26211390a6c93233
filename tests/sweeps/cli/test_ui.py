"""What `sweeps ui` refuses; tests/test_browser.py opens the pages to which it links."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.tracking.experiment import PRIMARY_METRIC
from tests.conftest import Command
from tests.sweeps.sweep_files import STUDY

pytestmark = pytest.mark.slow


def test_what_cannot_be_shown_is_one_line(
    quick_command: Command, tmp_path: Path, storage_with_store: Callable[[Path], Path]
) -> None:
    storage_with_store(tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = quick_command(tmp_path, "ui", "--port", port)
        assert done.returncode == 2
        assert f"--port {port}: cannot be used (Address already in use)" in done.stderr
    for name, experiment in (("digits", "digits"), ("proxconnect_resnet20", "proxconnect")):
        done = quick_command(tmp_path, "ui", name, "--port", port)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"its MLflow database: has no runs of {experiment}, which" in done.stderr
    client = MlflowClient(tracking_uri=sqlite_uri(tmp_path / "runs" / "mlflow.db"))
    for experiment, tags in (("removed", {}), ("mine epochs 3", {"fingerprint": "0"})):
        number = client.create_experiment(experiment, tags={PRIMARY_METRIC: "test_accuracy"})
        client.create_run(number, tags=tags)
    done = quick_command(tmp_path, "ui", "digits", "--port", port)
    call = f"ui 'mine epochs 3' --port {port}`"
    assert "it has those of mine epochs 3: to see one of them, give its name" in done.stderr
    assert done.stderr.rstrip().endswith(call)
    done = quick_command(tmp_path, "ui", "digitz", "--port", port)
    assert done.returncode == 2
    assert "digitz" in done.stderr
    (tmp_path / "both.py").write_text(STUDY)
    for given, says in (
        ("both.py:tin", "the file defines tiny-study and tiny, and nothing of this name"),
        ("both.py:tiny", "has no runs of tiny, which"),
        ("both.py", "for the sweep, give both.py:tiny\n"),
    ):
        done = quick_command(tmp_path, "ui", given, "--port", port)
        assert done.returncode == 2
        assert says in done.stderr
