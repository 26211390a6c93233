"""The `sweeps` command from end to end, on a user's own file."""

import json
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import SWEEPS, Command, Ran
from tests.sweeps.sweep_files import TINY, WITH_CHILD

pytestmark = pytest.mark.slow


def bad(text: str, old: str, new: str) -> str:
    """The text with something changed that must be in it."""
    assert old in text
    return text.replace(old, new)


def test_the_sweep_ran_with_the_users_own_quantizer(tiny: Ran) -> None:
    lines = tiny.output.splitlines()
    assert lines[0] == "tiny: 6 trials, 6 to run"
    assert lines[-1] == "tiny: 6 COMPLETE"
    assert any(re.match(r"6/6 finished · .* trials/h", line) for line in lines)
    recipes = [file.read_text() for file in tiny.folder.glob("runs/trials/*/recipe.json")]
    assert sum('"type":"Tanh@' in recipe for recipe in recipes) == 4


def test_plan_counts_what_is_finished(tiny: Ran, command: Command) -> None:
    done = command(tiny.folder, "plan", "tiny.py", "--json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    counts = {"trials": 6, "finished": 6, "to_run": 0, "waiting": 0}
    assert {key: plan[key] for key in counts} == counts
    assert [(block["label"], block["finished"]) for block in plan["blocks"]] == [
        ("FP", 2),
        ("MD", 4),
    ]
    assert [cost["source"] for cost in plan["costs"]] == [
        f"{count} finished on cpu ({platform.machine()})" for count in (2, 4)
    ]
    assert all(cost["hours"] > 0 == cost["hours_to_run"] for cost in plan["costs"])
    fresh = command(tiny.folder, "plan", "tiny.py", "--json", "--storage", "elsewhere")
    assert json.loads(fresh.stdout)["finished"] == 0
    assert not (tiny.folder / "elsewhere").exists()
    text = command(tiny.folder, "plan", "tiny.py").stdout
    assert re.search(r"all +6 +6 +0 +0\n", text)


def test_the_same_command_again_trains_nothing(tiny: Ran, command: Command) -> None:
    files = {
        path: path.stat().st_mtime_ns
        for path in tiny.folder.glob("runs/trials/**/*")
        if path.is_file()
    }
    done = command(tiny.folder, "run", "tiny.py")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "tiny: 6 trials, 0 to run")
    after = {path: path.stat().st_mtime_ns for path in files}
    assert after == files


def test_one_more_seed_runs_only_its_cells(tiny: Ran, command: Command, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder / "runs", tmp_path / "runs")
    (tmp_path / "copy.py").write_text(TINY.replace("seeds=(0, 1)", "seeds=(0, 1, 2)"))
    before = {path.name for path in (tmp_path / "runs" / "trials").iterdir()}
    done = command(tmp_path, "run", "copy.py", "--pack", "auto", "--concurrency", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny: 9 trials, 3 to run"
    # Two trials for one slot are measured, and are too short for more than that.
    assert lines[1] == (
        "2 trials of ConvNet on Digits: one by one (time a trial by size of the pack: 1: 1.00 "
        "(over too soon to measure more))"
    )
    after = {path.name for path in (tmp_path / "runs" / "trials").iterdir()}
    assert before < after
    assert len(after - before) == 3


def test_status_and_report(tiny: Ran, command: Command, tmp_path: Path) -> None:
    status = command(tiny.folder, "status", "tiny.py")
    assert (status.returncode, status.stdout) == (0, "tiny: 6 COMPLETE\n")
    done = command(tiny.folder, "report", "tiny.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Test accuracy in % over ρ0: MD, end-to-end, Digits" in " ".join(done.stdout.split())
    assert str(tmp_path / "report.html") in done.stdout
    frame = pd.read_csv(tmp_path / "trials.csv")
    assert len(frame) == 6
    assert set(frame["set"].dropna()) == {"binary"}
    assert sorted(frame["rho0"].dropna().unique()) == [0.5, 1.0]


def test_a_failing_trial_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    """A map that breaks for one value of rho0, for as long as a file says so.

    The trial that starts from a failed one fails with it, and both run once it is mended. Those
    that are in a pack with it go on.
    """
    fragile = bad(
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
    deadly = bad(
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
    assert "another `sweeps run` is at work on it" in line
    output, errors = first.communicate(timeout=120)
    assert first.returncode == 1
    assert output.splitlines()[-1] == "tiny: 4 COMPLETE, 2 FAILED"
    assert deaths.read_text() in ("xxx", "xxxx")  # in one pack or two, and then each alone
    (line,) = errors.splitlines()
    assert line.startswith("sweeps: failed: MD rho0=0.5 seed=0 (and 1 more): its process died, ")
    assert "actor died" in line


def test_a_stopped_sweep_goes_on_where_it_was(command: Command, tmp_path: Path) -> None:
    """With Ctrl-C, that is; `tests/chaos` has what happens to those that are killed."""
    longer = bad(TINY, "epochs=2,", "epochs=400,")
    longer = bad(longer, "(0.5, 1.0)),)", "(0.5,)),)")
    (tmp_path / "tiny.py").write_text(bad(longer, "seeds=(0, 1)", "seeds=(0,)"))
    driver = subprocess.Popen(
        [SWEEPS, "run", "tiny.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/trials/*/checkpoint.pt")):
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert errors.splitlines()[-1].startswith("stopped; to go on: ")
    assert errors.splitlines()[-1].endswith("sweeps run tiny.py")
    assert not list(tmp_path.glob("runs/trials/*/failure.json"))
    done = command(tmp_path, "run", "tiny.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tiny: 2 COMPLETE"
    epochs = [
        [json.loads(line)["epoch"] for line in file.read_text().splitlines()]
        for file in tmp_path.glob("runs/trials/*/history.jsonl")
    ]
    assert sorted(epochs, key=len) == [list(range(1, 401)), list(range(1, 402))]


LEVELS = "levels: tuple[float, ...] = (-1.0, 1.0)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bad(TINY, '"quantization.sharpness.rho0"', '"quantization.sharpnes.rho0"'), "'sharpnes'"),
        (bad(TINY, "(0.5, 1.0)", "(0.5, -1.0)"), "Linear.rho0 = -1.0: must be finite and >= 0"),
        (bad(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0, -1.0)")), "unsorted"),
        (bad(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0, 1.0)")), "duplicated"),
        (bad(TINY, LEVELS, LEVELS.replace("(-1.0, 1.0)", "(1.0,)")), "at least two levels"),
        (
            bad(
                bad(TINY, "Digits(train_images", 'ImageFolder(folder="no", train_images'),
                "datasets.digits import Digits",
                "datasets.image_folder import ImageFolder",
            ),
            "no/train",
        ),
        (
            bad(
                bad(TINY, "epochs=2,", 'epochs=2, initial_weights=TrialWeights("0" * 16),'),
                "from quantlab.models",
                "from quantlab.initial_weights import TrialWeights\nfrom quantlab.models",
            ),
            "that trial has no final weights yet",
        ),
    ],
    ids=["typo", "negative", "unsorted", "duplicated", "one-level", "no-data", "no-weights"],
)
def test_bad_input_is_one_line_and_trains_nothing(
    text: str, message: str, quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(text)
    done = quick_command(tmp_path, "run", "tiny.py")
    assert_one_line(done, message, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "digitz"), "sweep 'digitz': unknown; sweeps: "),
        (("run", "tiny.py", "--storage", "tiny.py/runs"), "cannot be written to"),
        (("report", "tiny.py", "--storage", "new"), "no finished trial"),
        (("ui", "--storage", "new"), "no MLflow database in it yet"),
        (("run", "tiny.py", "--storage", "new", "--execution", "fp16"), "option 'fp16': must be"),
        (("run", "tiny.py", "--storage", "new", "--address", "ray://x:1"), "is not supported"),
        (("run", "tiny.py", "--storage", "new", "--address", "127.0.0.1:9"), "no Ray cluster"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...], message: str, quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    assert_one_line(quick_command(tmp_path, *arguments), message, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tracking-uri", "http://127.0.0.1:9", "--tracking-uri http://127.0.0.1:9: cannot be"),
        ("--gpus-per-trial", "99", "GPUs on this machine"),
    ],
)
def test_a_service_that_is_not_there_is_one_line(
    option: str, value: str, message: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    assert_one_line(command(tmp_path, "run", "tiny.py", option, value), message, tmp_path)


def assert_one_line(done: subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    """On the standard error; no trial was begun."""
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("sweeps: error: ")
    assert message in line
    assert not list(folder.glob("*/trials/*"))
