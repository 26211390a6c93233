"""Sweeps in which something goes wrong, from end to end."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sweeps.storage import TrialFolder
from tests.conftest import SWEEPS, Command
from tests.sweeps.sweep_files import TINY, WITH_CHILD, changed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _store(storage_with_store: Callable[[Path], Path], tmp_path: Path) -> None:
    storage_with_store(tmp_path / "runs")


def test_a_failing_trial_does_not_stop_the_others(
    quick_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that breaks for one value of rho0 in training, for as long as a file says so.

    The trial that starts from a failed one fails with it, and both run once it is mended. Those
    that are in a pack with it go on. Nothing of Ray is left afterwards.
    """
    monkeypatch.setenv("STARTED_BY", str(tmp_path))
    one_seed = changed(WITH_CHILD, "seeds=(0, 1)", "seeds=(0,)")
    fragile = changed(
        one_seed,
        "        return torch.tanh(",
        "        if os.listdir('trials') and sharpness < 1 and open('broken').read() == 'yes':\n"
        "            print('the sharpness is', sharpness)\n"
        "            raise RuntimeError('broken map')\n"
        "        return torch.tanh(",
    )
    fragile = fragile.replace("'broken'", repr(str(tmp_path / "broken")))
    fragile = fragile.replace("'trials'", repr(str(tmp_path / "runs" / "trials")))
    (tmp_path / "tiny.py").write_text("import os\n" + fragile)
    (tmp_path / "broken").write_text("yes")
    done = quick_command(tmp_path, "run", "tiny.py", "--pack", "2", "--concurrency", "1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "tiny: 2 COMPLETE, 2 FAILED"
    lines = [line for line in done.stderr.splitlines() if line.startswith("sweeps: failed")]
    shown = re.search(r"printed, run: .*sweeps log ([0-9a-f]{16})\n", done.stderr)
    assert shown is not None
    assert lines == [
        "sweeps: failed: MD rho0=0.5 seed=0: RuntimeError: broken map (tiny.py, line 27, in prox)",
        "sweeps: failed: child seed=0: not started, because 'MD rho0=0.5 seed=0', from whose "
        "network it starts, failed",
    ]
    broken, other = sorted(
        tmp_path.glob("runs/trials/*/output.txt"),
        key=lambda file: not file.with_name("failure.json").exists(),
    )
    title, line, *_, alone, same = broken.read_text().splitlines()
    assert title.endswith(", in a pack of 2 trials ---")
    assert line == same
    assert line.startswith("the sharpness is ")
    assert alone.startswith("--- 20")
    assert "in a pack" not in alone, "the pack was halved"
    assert other.read_text().splitlines() == [title, line]
    assert shown[1] == broken.parent.name
    log = quick_command(tmp_path, "log", shown[1]).stdout
    assert log.startswith("MD rho0=0.5 seed=0 (of tiny)\n")
    assert 'tiny.py", line 27, in prox\n' in log
    assert log.endswith(f"It printed:\n{broken.read_text()}")
    (tmp_path / "broken").write_text("no")
    again = quick_command(tmp_path, "run", "tiny.py", "--concurrency", "1")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "tiny: 4 trials, 2 to run"
    _, left = psutil.wait_procs(started_by(str(tmp_path)), timeout=10)
    assert not left


def started_by(mark: str) -> list[psutil.Process]:
    """Processes that have the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("STARTED_BY") == mark:
                found.append(process)
    return found


def test_a_trial_whose_process_dies_is_tried_again_but_not_for_ever(
    quick_command: Command, tmp_path: Path
) -> None:
    """Nor does it take those with it that were in its pack."""
    deaths = tmp_path / "deaths"
    deadly = changed(
        changed(TINY, "seeds=(0, 1)", "seeds=(0,)"),
        "        return torch.tanh(",
        f"        if sharpness < 1 and os.listdir({str(tmp_path / 'runs' / 'trials')!r}):\n"
        f"            open({str(deaths)!r}, 'a').write('x')\n"
        "            print('the last words', {'mlflow', 'optuna'} & sys.modules.keys())\n"
        "            os._exit(1)\n"
        "        return torch.tanh(",
    )
    (tmp_path / "tiny.py").write_text("import os\nimport sys\n" + deadly)
    options = ("--retries", "1", "--pack", "2", "--concurrency", "1")
    done = quick_command(tmp_path, "run", "tiny.py", *options)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "tiny: 2 COMPLETE, 1 FAILED"
    assert len(deaths.read_text()) == 2 + 2  # twice in a pack; then alone, and once more
    line, more = done.stderr.splitlines()
    assert re.search(r" sweeps log [0-9a-f]{16}$", more)
    assert line.startswith("sweeps: failed: MD rho0=0.5 seed=0: its process died, ")
    assert "actor died" in line
    assert re.search(r"^spent: .* of slots on 3 trials; 5 retries", done.stdout, re.M)
    texts = [file.read_text() for file in tmp_path.glob("runs/trials/*/*.txt")]
    assert sum(text.count("last words") for text in texts) == 2 + 2
    unused = sum(text.count("last words set()") for text in texts)
    assert unused == 2 + 2, "processes that train take no time to import MLflow"


def test_a_command_goes_on_where_another_one_was_stopped(
    quick_command: Command, tmp_path: Path
) -> None:
    """Two commands share the trials of a storage, until the first one is stopped.

    It trains two packs, and leaves a trial to the second, which takes over the others. The signal
    goes to all its processes, as that of a batch system. After an epoch or two, the map waits until
    the first command has noticed the signal, and takes its time until that command has ended; not
    in the checks before training, which try it on fewer weights.
    `tests/chaos` has what happens to the killed.
    """
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
    longer = changed(changed(slow, "epochs=2,", "epochs=20,"), "seeds=(0, 1)", "seeds=(0,)")
    quantized = changed(
        changed(longer, 'Block("FP"),', ""), "(0.5, 1.0)", "(1, 1.1, 1.2, 1.3, 1.4)"
    )
    (tmp_path / "tiny.py").write_text("import os\nimport time\n" + quantized)
    log = tmp_path / "log"
    with log.open("w") as output:
        driver = subprocess.Popen(
            [SWEEPS, "run", "tiny.py", "--pack", "2"], cwd=tmp_path, stdout=output, stderr=output
        )

    def wait_for(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop_the_first() -> tuple[Counter[int], str, list[list[int]]]:
        """Return how many trials each process trained before, and what is left then."""
        wait_for(lambda: len(list(tmp_path.glob("runs/trials/*/running.json"))) == 5)
        folders = [TrialFolder(path) for path in tmp_path.glob("runs/trials/*")]
        commands = [folder.trained_by() for folder in folders]
        trained = Counter(command.process for command in commands if command is not None)
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
        done = quick_command(tmp_path, "run", "tiny.py")
        trained, errors, begun = first.result()
    assert driver.returncode == 130
    assert "sweeps: stopping; running trials save their state" in errors
    assert errors.splitlines()[-1].startswith("sweeps: stopped; to continue, run: ")
    assert errors.splitlines()[-1].endswith("sweeps run tiny.py --pack 2")
    assert not list(tmp_path.glob("runs/trials/*/failure.json"))
    assert trained == {driver.pid: 4, os.getpid(): 1}
    assert sum(0 < len(epochs) < 20 for epochs in begun) >= 4
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tiny: 5 COMPLETE"
    told = re.findall(r"^MD rho0=\S+ seed=0: continues after epoch (\d+) of 21$", done.stdout, re.M)
    assert len(told) >= 4
    assert not Counter(map(int, told)) - Counter(map(len, begun))
    assert epochs_of(tmp_path) == 5 * [list(range(1, 22))]
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
