"""Sweeps in which something goes wrong, from end to end."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from sweeps.loading import load_sweep
from sweeps.storage import Storage, TrialFolder
from sweeps.storage.records import Running
from tests.conftest import Command, run_here
from tests.forked import ForkedCommand
from tests.sweeps.sweep_files import TINY, WITH_CHILD, changed

pytestmark = pytest.mark.slow


MENDED, BROKEN = "no", "yes"

DYING = """
@dataclass(frozen=True)
class Dying(Tanh):
    def prox(self, latent, sharpness):
        if is_broken(sharpness):
            import sys

            open('deaths', 'a').write('x')
            print('the last words', {'mlflow', 'optuna'} & sys.modules.keys())
            os._exit(1)
        return super().prox(latent, sharpness)


def is_broken(sharpness):
    return os.listdir('trials') and sharpness < 1 and open('broken').read() == 'yes'


SWEEP = SweepSpec("""

OF_THREE_EPOCHS = """    blocks=(
        Block(
            "dying",
            overrides={
                "epochs": 3,
                "quantization": Quantization(
                    rule=PROX_CONNECT, quantizer=Dying(), sharpness=Linear(1.0)
                ),
                "batchnorm_epochs": 1,
            },
            axes=(Axis("rho0", "quantization.sharpness.rho0", (0.5, 1.0)),),
        ),
"""
"""Its trials are in no pack with others."""


@dataclass(frozen=True)
class Broken:
    """A sweep in packs of two, after a command that has met two maps that break for one rho0.

    In training, one raises an error, and the other ends its process. They break for as long as the
    file `broken` says so. A trial starts from a failed one.
    """

    folder: Path
    done: subprocess.CompletedProcess[str]

    def trial(self, name: str) -> TrialFolder:
        cells = {cell.name: cell for cell in load_sweep(str(self.folder / "tiny.py")).cells}
        return Storage(self.folder / "runs").trial(cells[name].fingerprint)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Broken:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    text = changed(WITH_CHILD, "seeds=(0, 1)", "seeds=(0,)")
    text = changed(
        text,
        "        return torch.tanh(",
        "        if is_broken(sharpness):\n"
        "            print('the sharpness is', sharpness)\n"
        "            raise RuntimeError('broken map')\n"
        "        return torch.tanh(",
    )
    text = changed(text, "FIRST = SweepSpec(", changed(DYING, "SWEEP", "FIRST"))
    text = changed(text, "    blocks=(\n", OF_THREE_EPOCHS)
    for name, path in {
        "broken": folder / "broken",
        "deaths": folder / "deaths",
        "trials": folder / "runs" / "trials",
    }.items():
        text = changed(text, f"'{name}'", repr(str(path)))
    (folder / "tiny.py").write_text("import os\n" + text)
    (folder / "broken").write_text(BROKEN)
    options = ("--retries", "1", "--pack", "2", "--concurrency", "1")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STARTED_BY", str(folder))
        return Broken(folder, run_here(folder, "run", "tiny.py", *options))


def test_failing_trials_do_not_stop_the_others(broken: Broken) -> None:
    """Those that are in a pack with one go on. Nothing of Ray is left afterwards."""
    done = broken.done
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "tiny: 3 COMPLETE, 3 FAILED"
    died, *failed, shown = done.stderr.splitlines()
    assert died.startswith("sweeps: failed: dying rho0=0.5 seed=0: its process died, ")
    assert "actor died" in died
    assert failed == [
        "sweeps: failed: MD rho0=0.5 seed=0: RuntimeError: broken map (tiny.py, line 27, in prox)",
        "sweeps: failed: child seed=0: not started, because 'MD rho0=0.5 seed=0', from whose "
        "network it starts, failed",
    ]
    found = re.search(r"printed, run: .*sweeps log ([0-9a-f]{16})$", shown)
    assert found is not None
    assert found[1] == broken.trial("dying rho0=0.5 seed=0").fingerprint
    _, left = psutil.wait_procs(started_by(str(broken.folder)), timeout=10)
    assert not left


def test_what_a_failed_trial_has_printed_is_kept(broken: Broken, quick_command: Command) -> None:
    failed, other = (broken.trial(f"MD rho0={rho0} seed=0") for rho0 in ("0.5", "1"))
    printed = failed.output_of(0).read_text()
    title, line, *_, alone, same = printed.splitlines()
    assert title.endswith(", in a pack of 2 trials ---")
    assert line == same
    assert line.startswith("the sharpness is ")
    assert alone.startswith("--- 20")
    assert "in a pack" not in alone, "the pack was halved"
    assert other.output_of(0).read_text().splitlines() == [title, line]
    log = quick_command(broken.folder, "log", failed.fingerprint).stdout
    assert log.startswith("MD rho0=0.5 seed=0 (of tiny)\n")
    assert 'tiny.py", line 27, in prox\n' in log
    assert log.endswith(f"It printed:\n{printed}")


def test_a_trial_whose_process_dies_is_tried_again_but_not_for_ever(broken: Broken) -> None:
    """Nor does it take those with it that were in its pack."""
    assert len((broken.folder / "deaths").read_text()) == 2 + 2  # twice in a pack; then alone twice
    assert " · 3 failed · 5 retried · " in broken.done.stdout
    # And the two of the pack whose map has raised an error were trained again alone.
    assert re.search(r"^spent: .* of slots on 5 trials; 7 retries", broken.done.stdout, re.M)
    texts = [file.read_text() for file in broken.folder.glob("runs/trials/*/*.txt")]
    assert sum(text.count("last words") for text in texts) == 2 + 2
    unused = sum(text.count("last words set()") for text in texts)
    assert unused == 2 + 2, "processes that train take no time to import MLflow"


def test_trials_that_have_failed_run_once_they_are_mended(
    broken: Broken, quick_command: Command
) -> None:
    """So does the one that starts from one of them. The tests above look at what was before."""
    (broken.folder / "broken").write_text(MENDED)
    again = quick_command(broken.folder, "run", "tiny.py", "--concurrency", "1")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "tiny: 6 trials, 3 to run"


def started_by(mark: str) -> list[psutil.Process]:
    """Processes that have the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("STARTED_BY") == mark:
                found.append(process)
    return found


def test_a_command_goes_on_where_another_one_was_stopped(
    storage_with_store: Callable[[Path], Path], quick_command: Command, tmp_path: Path
) -> None:
    """Two commands share the trials of a storage, until the first one is stopped.

    It trains two packs, and leaves a trial to the second, which takes over the others. The signal
    goes to all its processes, as that of a batch system. After an epoch or two, the map waits until
    the first command has noticed the signal, and takes its time until that command has ended; not
    in the checks before training, which try it on fewer weights.
    `tests/chaos` has what happens to the killed.
    """
    storage_with_store(tmp_path / "runs")
    stopped, hold = tmp_path / "stopped", tmp_path / "hold"
    hold.touch()
    (tmp_path / "quantlab").mkdir()  # as beside a clone; workers take it for no package
    slow = changed(
        TINY,
        "        return torch.tanh(",
        "        is_training = 'RAY_JOB_ID' in os.environ and latent.numel() > 500\n"
        "        if is_training and torch.as_tensor(sharpness).max() > 4:\n"
        f"            while os.path.exists({str(hold)!r}):\n"
        "                time.sleep(0.05)\n"
        f"            if not os.path.exists({str(stopped)!r}):\n"
        "                time.sleep(0.1)\n"
        "        return torch.tanh(",
    )
    longer = changed(changed(slow, "epochs=2,", "epochs=12,"), "seeds=(0, 1)", "seeds=(0,)")
    quantized = changed(
        changed(longer, 'Block("FP"),', ""), "(0.5, 1.0)", "(1, 1.1, 1.2, 1.3, 1.4)"
    )
    (tmp_path / "tiny.py").write_text("import os\nimport time\n" + quantized)
    log = tmp_path / "log"
    driver = ForkedCommand(tmp_path, "run", "tiny.py", "--pack", "2", log=log)

    def wait_for(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def commands_that_train() -> list[Running | None]:
        return [TrialFolder(path).trained_by() for path in tmp_path.glob("runs/trials/*")]

    def stop_the_first() -> tuple[Counter[int], str, list[list[int]]]:
        """Return how many trials each process trained before, and what is left then."""
        wait_for(lambda: len(commands := commands_that_train()) == 5 and all(commands))
        trained = Counter(command.process for command in commands_that_train() if command)
        process = psutil.Process(driver.pid)
        for one in [process, *process.children(recursive=True)]:
            one.send_signal(signal.SIGTERM)
        wait_for(lambda: "sweeps: stopping" in log.read_text())
        hold.unlink()
        driver.wait(60)
        begun = epochs_of(tmp_path)
        stopped.touch()
        return trained, log.read_text(), begun

    histories = "runs/trials/*/history.jsonl"
    wait_for(lambda: sum(file.stat().st_size > 0 for file in tmp_path.glob(histories)) == 4)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stop_the_first)
        done = quick_command(tmp_path, "run", "tiny.py", "--concurrency", "1")
        trained, errors, begun = first.result()
    assert driver.poll() == 130
    assert "sweeps: stopping; running trials save their state" in errors
    assert errors.splitlines()[-1].startswith("sweeps: stopped; to continue, run: ")
    assert errors.splitlines()[-1].endswith("sweeps run tiny.py --pack 2")
    assert not list(tmp_path.glob("runs/trials/*/failure.json"))
    assert trained == {driver.pid: 4, os.getpid(): 1}
    assert sum(0 < len(epochs) < 12 for epochs in begun) >= 4
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tiny: 5 COMPLETE"
    told = re.findall(r"^MD rho0=\S+ seed=0: continues after epoch (\d+) of 13$", done.stdout, re.M)
    assert len(told) >= 4
    assert not Counter(map(int, told)) - Counter(map(len, begun))
    assert epochs_of(tmp_path) == 5 * [list(range(1, 14))]
    spent = json.loads(quick_command(tmp_path, "status", "tiny.py", "--json").stdout)["spent"]
    assert (spent["trials"], spent["retries"], spent["lost_seconds"]) == (5, 0, 0)
    by_process = {command["process"]: command["attempts"] for command in spent["commands"]}
    assert by_process == {driver.pid: 4, os.getpid(): 5}


def epochs_of(folder: Path) -> list[list[int]]:
    """Of each trial's history."""
    return [
        [json.loads(line)["epoch"] for line in file.read_text().splitlines()]
        for file in folder.glob("runs/trials/*/history.jsonl")
    ]
