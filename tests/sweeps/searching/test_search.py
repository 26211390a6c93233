"""The command `sweeps search`, with real Ray, MLflow and Optuna, and with killed drivers."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import optuna
import psutil
import pytest
from optuna.trial import TrialState as OptunaState

from sweeps.cli import main
from sweeps.cli.exit_codes import EXIT_CUT_SHORT
from sweeps.connecting.ray_processes import EXIT_CODE, NO_CONTROL
from tests.conftest import Command, run_here
from tests.forked import ForkedCommand
from tests.services import wait_until
from tests.sweeps.sweep_files import STUDY, changed
from tests.sweeps.tracking.test_views import state_of

pytestmark = pytest.mark.slow

LONG = "QUANTLAB_CHAOS" in os.environ
KILLS = 5


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(
        study_name="tiny-study", storage=f"sqlite:///{folder / 'runs' / 'optuna.db'}"
    )


def require_everything_once(folder: Path, budget: int) -> None:
    """Require that the whole budget was spent, and that no trial was trained twice."""
    study = study_of(folder)
    counts = Counter(trial.state for trial in study.trials)
    assert set(counts) <= {OptunaState.COMPLETE, OptunaState.PRUNED}
    assert sum(counts.values()) == budget
    assert len({trial.params["rho0"] for trial in study.trials}) == budget
    for trial in (folder / "runs" / "trials").iterdir():
        lines = (trial / "history.jsonl").read_text().splitlines()
        epochs = [json.loads(line)["epoch"] for line in lines]
        assert epochs == list(range(1, len(epochs) + 1))
    for trial in study.trials:
        if trial.state is OptunaState.COMPLETE:
            assert trial.last_step == 2 * 3  # two seeds of three epochs


def start(folder: Path, *options: str, log: str = "log", **environment: str) -> ForkedCommand:
    options = options or ("--concurrency", "2")
    return ForkedCommand(folder, "search", "study.py", *options, log=folder / log, **environment)


def results_of(folder: Path) -> list[Path]:
    return list((folder / "runs" / "trials").glob("*/result.json"))


def finished(folder: Path) -> int:
    return len(results_of(folder))


AROUND = """,
    neighbourhoods=(
        Neighbourhood(name="rho0", paths=("quantization.sharpness.rho0",), factors=(1, 2)),
    ),
    objectives=(worst(VALIDATION_ACCURACY),)"""
"""For a study: each seed of a configuration is two trials, which may be one pack."""

WAITING = """
    def prox(self, latent, sharpness):
        import os
        import time

        gate = os.environ.get("GATE")
        while gate and "RAY_JOB_ID" in os.environ and not os.path.exists(gate):
            time.sleep(0.05)
"""
"""For the quantizer of the study's file: workers of a driver with a GATE wait for that file."""


def control_process_of(driver: ForkedCommand) -> psutil.Process:
    """The control process of its Ray."""
    children = psutil.Process(driver.pid).children(recursive=True)
    (control,) = (one for one in children if one.name() == "gcs_server")
    return control


def require_control_missed(driver: ForkedCommand, folder: Path) -> None:
    """Require that a driver ends with a line, after its Ray has lost the control process."""
    assert driver.wait(120) == EXIT_CUT_SHORT == EXIT_CODE
    lines = (folder / "log").read_text().splitlines()
    assert lines[-1] == f"sweeps: error: {NO_CONTROL}; run the same command again to continue"


@dataclass(frozen=True)
class Searched:
    """A search of two configurations whose Ray has died within it, and that has gone on."""

    folder: Path
    before: dict[Path, str]
    """The results that there were when the first command had ended."""
    done: subprocess.CompletedProcess[str]
    """The second command."""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Searched:
    """The map holds the trials after the first pack, so that the others are not over before."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    settings = 'configurations=2, confirmation_seeds=(7, 8), known={"one": {"rho0": 1.0}}'
    text = changed(STUDY, "configurations=12", settings + AROUND)
    text = changed(text, "import StudySpec", "import *")
    text = changed(text, "\n    def prox(self, latent, sharpness):\n", WAITING)
    (folder / "study.py").write_text(text)
    gate = folder / "gate"
    gate.touch()
    options = ("--concurrency", "1", "--pack", "2")
    driver = start(folder, *options, GATE=str(gate))
    wait_until(
        "a pack ends", lambda: finished(folder) > 0 or driver.poll() is not None, seconds=120
    )
    gate.unlink()
    control_process_of(driver).kill()
    require_control_missed(driver, folder)
    before = {path: path.read_text() for path in results_of(folder)}
    done = run_here(folder, "search", "study.py", *options, "--promote", "confirm.py")
    return Searched(folder, before, done)


def test_a_search_whose_ray_has_died_goes_on(searched: Searched) -> None:
    assert searched.done.returncode == 0, searched.done.stderr
    require_everything_once(searched.folder, 2)
    assert 0 < len(searched.before) < finished(searched.folder)
    for path, text in searched.before.items():  # which includes the time of training
        assert path.read_text() == text


def test_a_search_from_the_command_line(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, done = searched.folder, searched.done
    assert "tiny-study: 2 configurations" in done.stdout
    assert re.search(r"best( new)?: configuration 1, worst validation accuracy ", done.stdout)
    assert "known: configuration 0 (one), worst validation accuracy " in done.stdout
    assert "P(w*) = Tanh(levels=(-1.0, 1.0))" in done.stdout
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny-study")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags["fingerprint"] for run in runs}) == len(runs) == finished(folder)
    columns = state_of(experiment.tags, "trials")["selectedColumns"]
    assert {"params.`configuration`", "params.`rho0`"} < set(columns)
    groups = state_of(experiment.tags, "configurations")["groupsExpanded"]
    names = {run.data.tags["configuration"] for run in runs}
    assert groups.keys() == {f"tag.configuration.{name}" for name in names}
    assert "QUANTIZATION = Quantization(" in done.stdout
    assert "quantizer=Tanh(levels=(-1.0, 1.0))" in done.stdout
    # The other commands start no processes, so they run in this one.
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        return code, capsys.readouterr().out

    code, text = call("status", "study.py")
    assert code == 0
    standing, _, of_commands = text.partition("spent: ")
    assert standing in done.stdout
    in_all, *_ = of_commands.splitlines()
    assert re.match(r".* of slots on 8 trials", in_all)
    assert re.search(rf"^spent: .*, in all {re.escape(in_all)}$", done.stdout, re.M)
    code, text = call("watch", "study.py")
    assert code == 0
    assert set(standing.splitlines()) <= {line.strip() for line in text.splitlines()}
    assert "8/8 finished" in text
    code, text = call("report", "study.py", "--format", "html,csv")
    assert code == 0
    page = (folder / "runs" / "reports" / "tiny-study" / "report.html").read_text()
    assert "quantizer=Tanh(levels=(-1.0, 1.0))" in page
    variants = (folder / "runs" / "reports" / "tiny-study" / "tables" / "variants.csv").read_text()
    header, *rows = variants.splitlines()
    assert header == "configuration,rho0,trials,mean,worst"
    assert {tuple(row.split(",")[:3]) for row in rows} >= {
        ("configuration 0 (one)", "1", "2"),
        ("configuration 0 (one)", "2", "2"),
    }
    assert len(rows) == 4
    assert "run 'study tiny-study'" in text
    names = {
        run.data.tags.get("mlflow.runName")
        for run in client.search_runs([experiment.experiment_id])
    }
    assert "study tiny-study" in names
    code, text = call("plan", "confirm.py", "--json")
    assert code == 0
    blocks = {block["label"]: block["trials"] for block in json.loads(text)["blocks"]}
    assert blocks == {"winner": 4, "one": 4}
    assert call("status", "confirm.py") == (1, "tiny-study-confirmed: 8 WAITING\n")


@pytest.mark.skipif(not LONG, reason="runs with `make chaos`; one kill is in the tests above")
@pytest.mark.timeout(600)
def test_a_search_that_is_killed_again_and_again_loses_nothing(
    storage_with_store: Callable[[Path], Path], tmp_path: Path, quick_command: Command
) -> None:
    """At random moments: once the control process of its Ray, and then all of its processes."""
    storage_with_store(tmp_path / "runs")
    budget = 30
    (tmp_path / "study.py").write_text(
        STUDY.replace("configurations=12", f"configurations={budget}")
    )
    rng = random.Random(0)
    results: dict[Path, str] = {}
    for number in range(KILLS):
        before = finished(tmp_path)
        driver = start(tmp_path)
        while driver.poll() is None and finished(tmp_path) < before + rng.randrange(1, 4):
            time.sleep(0.05)
        time.sleep(rng.random())
        if number:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
        else:
            assert driver.poll() is None
            control_process_of(driver).kill()
            require_control_missed(driver, tmp_path)
        results |= {path: path.read_text() for path in results_of(tmp_path)}
    last = quick_command(tmp_path, "search", "study.py", "--concurrency", "2")
    assert last.returncode == 0, last.stderr
    require_everything_once(tmp_path, budget)
    assert results
    for path, text in results.items():  # which includes the time of training
        assert path.read_text() == text


@pytest.mark.skipif(not LONG, reason="runs with `make chaos`; test_study_queue.py is shorter")
@pytest.mark.timeout(400)
def test_two_drivers_share_a_study(
    storage_with_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The first driver holds its configurations until the second one has evaluated the others."""
    storage_with_store(tmp_path / "runs")
    text = changed(STUDY, "configurations=12", "configurations=5")
    text = changed(text, "\n    def prox(self, latent, sharpness):\n", WAITING)
    (tmp_path / "study.py").write_text(text)
    gate = tmp_path / "gate"
    first = start(tmp_path, log="first.log", GATE=str(gate))
    claims = tmp_path / "runs" / "studies" / "tiny-study" / "claims"
    wait_until("the first driver claims configurations", lambda: any(claims.glob("*")))
    second = start(tmp_path, log="second.log")
    # The budget is spent, but some of its configurations are still in the first driver's hands.
    assert second.wait(150) == 1, (tmp_path / "second.log").read_text()
    assert 1 <= finished(tmp_path) // 2 < 5
    gate.touch()
    assert first.wait(150) == 0, (tmp_path / "first.log").read_text()
    require_everything_once(tmp_path, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("search", "nothing"), "study 'nothing' is unknown"),
        (("search", "study.py", "--promote", "no/x.py"), "--promote no/x.py: the folder "),
        (("search", "study.py", "--promote", "study.py"), "--promote study.py: the path exists"),
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
