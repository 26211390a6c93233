"""Sweeps in which something goes wrong, from end to end."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import SWEEPS, Command
from tests.sweeps.sweep_files import TINY, WITH_CHILD, changed

pytestmark = pytest.mark.slow


def test_a_failing_trial_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    """A map that breaks for one value of rho0, for as long as a file says so.

    The trial that starts from a failed one fails with it, and both run once it is mended. Those
    that are in a pack with it go on.
    """
    fragile = changed(
        WITH_CHILD,
        "        return torch.tanh(",
        "        if sharpness < 1 and open('broken').read() == 'yes':\n"
        "            raise RuntimeError('broken map')\n"
        "        return torch.tanh(",
    ).replace("'broken'", repr(str(tmp_path / "broken")))
    (tmp_path / "tiny.py").write_text(fragile)
    (tmp_path / "broken").write_text("yes")
    done = command(tmp_path, "run", "tiny.py", "--pack", "3")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "tiny: 4 COMPLETE, 3 FAILED"
    lines = [line for line in done.stderr.splitlines() if line.startswith("sweeps: failed")]
    assert lines == [
        "sweeps: failed: MD rho0=0.5 seed=0 (and 1 more): RuntimeError: broken map",
        "sweeps: failed: child seed=0: not started: 'MD rho0=0.5 seed=0', which it starts from, "
        "failed",
    ]
    (tmp_path / "broken").write_text("no")
    again = command(tmp_path, "run", "tiny.py")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "tiny: 7 trials, 3 to run"


def test_a_trial_whose_process_dies_is_tried_again_but_not_for_ever(
    command: Command, tmp_path: Path
) -> None:
    """Nor does it take those with it that were in its pack.

    Meanwhile, another `sweeps run` on the same storage is refused.
    """
    deaths = tmp_path / "deaths"
    deadly = changed(
        TINY,
        "        return torch.tanh(",
        "        if sharpness < 1:\n"
        f"            open({str(deaths)!r}, 'a').write('x')\n"
        "            os._exit(1)\n"
        "        return torch.tanh(",
    )
    (tmp_path / "tiny.py").write_text("import os\n" + deadly)
    first = subprocess.Popen(
        [SWEEPS, "run", "tiny.py", "--retries", "1", "--pack", "3"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not deaths.exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    second = command(tmp_path, "run", "tiny.py")
    assert second.returncode == 2
    (line,) = second.stderr.splitlines()
    assert "another `sweeps` command is at work on it" in line
    output, errors = first.communicate(timeout=120)
    assert first.returncode == 1
    assert output.splitlines()[-1] == "tiny: 4 COMPLETE, 2 FAILED"
    assert 2 + 4 <= len(deaths.read_text()) <= 4 + 4  # in a pack or two, twice; then each alone
    (line,) = errors.splitlines()
    assert line.startswith("sweeps: failed: MD rho0=0.5 seed=0 (and 1 more): its process died, ")
    assert "actor died" in line


def test_a_stopped_sweep_goes_on_where_it_was(command: Command, tmp_path: Path) -> None:
    """A pack and a trial alone, with Ctrl-C; `tests/chaos` has what happens to the killed."""
    longer = changed(TINY, "epochs=2,", "epochs=400,")
    (tmp_path / "tiny.py").write_text(changed(longer, "seeds=(0, 1)", "seeds=(0,)"))
    driver = subprocess.Popen(
        [SWEEPS, "run", "tiny.py", "--pack", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("runs/trials/*/checkpoint.pt"))) < 2:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert errors.splitlines()[-1].startswith("stopped; to go on: ")
    assert errors.splitlines()[-1].endswith("sweeps run tiny.py --pack 2")
    assert not list(tmp_path.glob("runs/trials/*/failure.json"))
    done = command(tmp_path, "run", "tiny.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tiny: 3 COMPLETE"
    epochs = [
        [json.loads(line)["epoch"] for line in file.read_text().splitlines()]
        for file in tmp_path.glob("runs/trials/*/history.jsonl")
    ]
    assert sorted(epochs, key=len) == [list(range(1, 401)), *2 * [list(range(1, 402))]]
