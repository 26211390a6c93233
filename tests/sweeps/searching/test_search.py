"""`sweeps search` as it is typed: real Ray, MLflow and Optuna, and drivers that are killed."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.trial import TrialState as State

from sweeps.cli import main
from tests.conftest import SWEEPS, Command
from tests.sweeps.sweep_files import STUDY

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _store(storage_with_store: Callable[[Path], Path], tmp_path: Path) -> None:
    storage_with_store(tmp_path / "runs")


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(
        study_name="tiny-study", storage=f"sqlite:///{folder / 'runs' / 'optuna.db'}"
    )


def require_everything_once(folder: Path, budget: int) -> None:
    """The budget to the last configuration, and no trial that was trained twice."""
    study = study_of(folder)
    counts = Counter(trial.state for trial in study.trials)
    assert set(counts) <= {State.COMPLETE, State.PRUNED}
    assert sum(counts.values()) == budget
    assert len({trial.params["rho0"] for trial in study.trials}) == budget
    for trial in (folder / "runs" / "trials").iterdir():
        lines = (trial / "history.jsonl").read_text().splitlines()
        epochs = [json.loads(line)["epoch"] for line in lines]
        assert epochs == list(range(1, len(epochs) + 1))
    for trial in study.trials:
        if trial.state is State.COMPLETE:
            assert trial.last_step == 2 * 3  # two seeds of three epochs


def start(folder: Path) -> subprocess.Popen[bytes]:
    log = (folder / "log").open("ab")
    return subprocess.Popen(
        [SWEEPS, "search", "study.py", "--concurrency", "2"],
        cwd=folder,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def results_of(folder: Path) -> list[Path]:
    return list((folder / "runs" / "trials").glob("*/result.json"))


def finished(folder: Path) -> int:
    return len(results_of(folder))


def test_a_search_from_the_command_line(
    tmp_path: Path,
    quick_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = 'configurations=3, confirmation_seeds=(7, 8), known={"one": {"rho0": 1.0}}'
    text = STUDY.replace("configurations=12", settings)
    (tmp_path / "study.py").write_text(text)
    options = ("--concurrency", "2", "--pack", "2", "--promote", "confirm.py")
    done = quick_command(tmp_path, "search", "study.py", *options)
    assert done.returncode == 0, done.stderr
    assert "tiny-study: 3 configurations" in done.stdout
    assert re.search(r"best( new)?: configuration [12], validation accuracy ", done.stdout)
    assert "known: configuration 0 (one), validation accuracy " in done.stdout
    assert "P(w*) = Tanh(levels=(-1.0, 1.0))" in done.stdout
    require_everything_once(tmp_path, 3)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny-study")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags["fingerprint"] for run in runs}) == len(runs) == finished(tmp_path)
    assert "QUANTIZATION = Quantization(" in done.stdout
    assert "quantizer=Tanh(levels=(-1.0, 1.0))" in done.stdout
    # The other commands start no processes, and need none of their own.
    monkeypatch.chdir(tmp_path)

    def shown(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        return code, capsys.readouterr().out

    code, text = shown("status", "study.py")
    assert code == 0
    assert text in done.stdout
    code, text = shown("report", "study.py", "--format", "html,csv")
    assert code == 0
    page = (tmp_path / "runs" / "reports" / "tiny-study" / "report.html").read_text()
    assert "quantizer=Tanh(levels=(-1.0, 1.0))" in page
    assert "run 'study tiny-study'" in text
    names = {
        run.data.tags.get("mlflow.runName")
        for run in client.search_runs([experiment.experiment_id])
    }
    assert "study tiny-study" in names
    code, text = shown("plan", "confirm.py", "--json")
    assert code == 0
    blocks = {block["label"]: block["trials"] for block in json.loads(text)["blocks"]}
    assert blocks == {"winner": 2, "one": 2}
    assert shown("status", "confirm.py") == (1, "tiny-study-confirmed: 4 WAITING\n")


KILLS = 5 if "QUANTLAB_CHAOS" in os.environ else 1


@pytest.mark.timeout(600)
def test_a_driver_that_is_killed_again_and_again_loses_nothing(
    tmp_path: Path, quick_command: Command
) -> None:
    """At random moments; five times with QUANTLAB_CHAOS (`make chaos`)."""
    budget = 30 if KILLS > 1 else 4
    (tmp_path / "study.py").write_text(
        STUDY.replace("configurations=12", f"configurations={budget}")
    )
    rng = random.Random(0)
    results: dict[Path, str] = {}
    for _ in range(KILLS):
        before = finished(tmp_path)
        driver = start(tmp_path)
        while driver.poll() is None and finished(tmp_path) < before + rng.randrange(1, 4):
            time.sleep(0.05)
        time.sleep(rng.random())
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        results |= {path: path.read_text() for path in results_of(tmp_path)}
    last = quick_command(tmp_path, "search", "study.py", "--concurrency", "2")
    assert last.returncode == 0, last.stderr
    require_everything_once(tmp_path, budget)
    assert results
    for path, text in results.items():  # with the time at which it was trained
        assert path.read_text() == text


@pytest.mark.skipif(KILLS == 1, reason="of `make chaos`; test_race.py has its short form")
@pytest.mark.timeout(400)
def test_two_drivers_share_a_study(tmp_path: Path) -> None:
    text = STUDY.replace("configurations=12", "configurations=5")
    (tmp_path / "study.py").write_text(text)
    drivers = [start(tmp_path), start(tmp_path)]
    codes = sorted(driver.wait(250) for driver in drivers)
    # Who finds the rest in the other's hands says so, and ends with 1.
    assert codes in ([0, 0], [0, 1]), (tmp_path / "log").read_text()
    require_everything_once(tmp_path, 5)
    told = (tmp_path / "log").read_text()
    assert told.count("configuration ") >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("search", "nothing"), "study 'nothing': unknown; studies: "),
        (("search", "study.py", "--promote", "no/x.py"), "--promote no/x.py: there is no folder"),
        (("search", "study.py", "--promote", "study.py"), "study.py: is there already, and no"),
        (("search", "study.py", "--pack", "auto"), "--pack auto: a search needs a number"),
        (("search", "study.py", "--gpus-per-trial", "auto"), "auto: a search needs a number"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, quick_command: Command, change: tuple[str, ...], message: str
) -> None:
    (tmp_path / "study.py").write_text(STUDY)
    done = quick_command(tmp_path, *change)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "runs" / "trials").exists()
