"""Trials of two processes, from the command to the folders: each is one trial."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import psutil
import pytest

from sweeps.loading import load_sweep
from sweeps.storage import Storage, TrialState
from sweeps.storage.sqlite_uri import sqlite_uri
from sweeps.tracking.experiment import mlflow  # with our settings, which it reads when imported
from sweeps.worker.trial import run_trial
from tests.conftest import Command
from tests.sweeps.sweep_files import TINY, changed

pytestmark = pytest.mark.slow

LONG = "QUANTLAB_CHAOS" in os.environ
KILLS = 6 if LONG else 1
"""Alternately of the process that follows and of the worker that leads."""

PROCESSES = ("Member.train", "_Inner.train")
"""Names that Ray gives the process that follows and, as Tune has wrapped it, the worker."""

EPOCHS = 150 if LONG else 12
COMPARED = 7
"""Number of the first epochs whose losses are compared; later ones differ more and more."""


def processes_of(name: str) -> list[psutil.Process]:
    """Actors of Ray that run this method, the newest one last."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def test_a_trial_of_two_processes_survives_their_deaths(
    storage_with_store: Callable[[Path], Path], quick_command: Command, tmp_path: Path
) -> None:
    """It is one trial, with one MLflow run, and has the result of one process up to rounding.

    Until all deaths are over, the map takes its time at each step, and each death follows a
    checkpoint, with which the map waits for it.
    """
    storage_with_store(tmp_path / "runs")
    slow, hold = tmp_path / "slow", tmp_path / "hold"
    text = changed(
        TINY,
        "        return torch.tanh(",
        f"        if os.path.exists({str(slow)!r}):\n"
        "            print('the map is slow')\n"
        "            time.sleep(0.1)\n"
        f"        while os.path.exists({str(hold)!r}):\n"
        "            time.sleep(0.05)\n"
        "        return torch.tanh(",
    )
    for old, new in {
        "seeds=(0, 1)": "seeds=(0,)",
        "(0.5, 1.0)": "(0.5,)",
        "epochs=2,": f"epochs={EPOCHS},",
        '        Block("FP"),\n': "",
    }.items():
        text = changed(text, old, new)
    (tmp_path / "tiny.py").write_text("import os\nimport time\n" + text)
    (tmp_path / "alone").mkdir()
    (cell,) = load_sweep(str(tmp_path / "tiny.py")).cells
    folder = Storage(tmp_path / "runs").trial(cell.fingerprint)
    over = Event()

    def kill() -> None:
        """Cause the deaths while the sweep runs in this process."""
        killed: set[int] = set()
        while len(killed) < KILLS:
            assert not over.is_set(), "the sweep ended too early to be disturbed"
            if folder.recipe.exists():
                slow.touch()  # only now, so that checks before training are fast
            if not folder.checkpoint.exists():
                time.sleep(0.05)
                continue
            found = processes_of(PROCESSES[len(killed) % 2])
            has_checkpoint = (
                found
                and found[-1].pid not in killed
                and folder.checkpoint.stat().st_mtime > found[-1].create_time() + 1
            )
            if has_checkpoint:
                hold.touch()
            # Between two calls, a process has another name for a moment.
            attempt = [one for name in PROCESSES for one in processes_of(name)]
            if has_checkpoint and len(attempt) == 2:
                killed.add(found[-1].pid)
                os.kill(found[-1].pid, signal.SIGKILL)
                _, left = psutil.wait_procs(attempt, timeout=20)
                assert not left, "the next attempt has new processes"
                hold.unlink()
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        for file in (slow, hold):
            killing.add_done_callback(lambda _, file=file: file.unlink(missing_ok=True))
        options = ("--execution", "replicas=2", "--retries", str(KILLS))
        try:
            done = quick_command(tmp_path, "run", "tiny.py", *options)
        finally:
            over.set()
        killing.result()
    output = done.stdout
    assert done.returncode == 0, done.stderr
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
