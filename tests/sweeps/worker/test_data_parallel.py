"""Trials of two processes, from the command to the folders: each is one trial."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sweeps.loading import load_sweep
from sweeps.storage import Storage, TrialState
from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.tracking.experiment import mlflow  # with our settings, which it reads when imported
from sweeps.worker.trial import run_trial
from tests.conftest import SWEEPS, Command
from tests.sweeps.sweep_files import TINY, changed

pytestmark = pytest.mark.slow

LONG = "QUANTLAB_CHAOS" in os.environ
KILLS = 6 if LONG else 1
"""Alternately of the process that follows and of the worker that leads."""

PROCESSES = ("Member.train", "ResourceTrainable.train")
"""Names that Ray gives the process that follows and, as Tune has wrapped it, the worker."""

EPOCHS = 150 if LONG else 6
COMPARED = 7
"""Number of the first epochs whose losses are compared; later ones differ more and more."""


def processes_of(driver: subprocess.Popen[str], name: str) -> list[psutil.Process]:
    """Actors of Ray that run this method, the newest one last."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def test_a_trial_of_two_processes_survives_their_deaths(
    storage_with_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    """It is one trial, with one MLflow run, and has the result of one process up to rounding.

    Until all deaths are over, the map takes its time at each step, and each death follows a
    checkpoint.
    """
    storage_with_store(tmp_path / "runs")
    slow = changed(
        TINY,
        "        return torch.tanh(",
        f"        if os.path.exists({str(tmp_path / 'slow')!r}):\n"
        "            print('the map is slow')\n"
        "            time.sleep(0.1)\n"
        "        return torch.tanh(",
    )
    for old, new in {
        "seeds=(0, 1)": "seeds=(0,)",
        "(0.5, 1.0)": "(0.5,)",
        "epochs=2,": f"epochs={EPOCHS},",
        '        Block("FP"),\n': "",
    }.items():
        slow = changed(slow, old, new)
    (tmp_path / "tiny.py").write_text("import os\nimport time\n" + slow)
    (tmp_path / "alone").mkdir()
    (cell,) = load_sweep(str(tmp_path / "tiny.py")).cells
    folder = Storage(tmp_path / "runs").trial(cell.fingerprint)
    driver = subprocess.Popen(
        [SWEEPS, "run", "tiny.py", "--execution", "replicas=2", "--retries", str(KILLS)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    killed: set[int] = set()
    while len(killed) < KILLS:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        if folder.recipe.exists():
            (tmp_path / "slow").touch()  # only now, so that checks before training are fast
        found = processes_of(driver, PROCESSES[len(killed) % 2])
        has_checkpoint = (
            found
            and folder.checkpoint.exists()
            and folder.checkpoint.stat().st_mtime > found[-1].create_time() + 1
        )
        # Between two calls, a process has another name for a moment.
        attempt = [one for name in PROCESSES for one in processes_of(driver, name)]
        if has_checkpoint and len(attempt) == 2 and found[-1].pid not in killed:
            killed.add(found[-1].pid)
            os.kill(found[-1].pid, signal.SIGKILL)
            _, left = psutil.wait_procs(attempt, timeout=20)
            assert not left, "the next attempt has new processes"
        time.sleep(0.05)
    (tmp_path / "slow").unlink()
    output, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0, errors
    for rank in (0, 1):  # the one that leads, and the one that follows
        printed = folder.output_of(rank).read_text()
        assert printed.startswith("--- 20")
        assert "the map is slow\n" in printed
    assert output.splitlines()[-1] == "tiny: 1 COMPLETE"
    assert f"{KILLS} retried" in output

    client = mlflow.MlflowClient(tracking_uri=sqlite_uri(tmp_path / "runs" / "mlflow.db"))
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1
    alone = Storage(tmp_path / "alone").trial(cell.fingerprint)
    assert run_trial(cell.recipe, alone, data_dir=tmp_path) is TrialState.COMPLETE
    result, expected = folder.result.read(), alone.result.read()
    assert result is not None
    assert expected is not None
    assert result.execution.endswith("replicas=2")
    assert (result.pack, result.warning) == (1, "")
    assert LONG or abs(result.test_accuracy - expected.test_accuracy) < 0.05
    losses = [[epoch.train_loss for epoch in one.read_history()] for one in (folder, alone)]
    assert len(losses[0]) == EPOCHS + 1
    assert losses[0][:COMPARED] == pytest.approx(losses[1][:COMPARED], rel=1e-3)


def test_options_that_do_not_fit_are_refused_in_one_line(
    quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    for options, line in {
        ("--execution", "replicas=2", "--pack", "2"): "--pack 2: must be 1 if 2 processes",
        ("--gpus-per-trial", "4", "--pack", "auto"): "--pack auto: must be 1 if 4 processes",
    }.items():
        done = quick_command(tmp_path, "run", "tiny.py", *options)
        assert done.returncode == 2
        assert done.stderr.startswith(f"sweeps: error: {line}")
        assert done.stderr.count("\n") == 1
