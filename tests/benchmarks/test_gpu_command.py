"""The command that measures on a GPU, rehearsed on the CPU."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LONG = "QUANTLAB_CHAOS" in os.environ
PARTS = (*(["right"] if LONG else []), "floors", "steps", "others", "table")
"""`right` runs tests of the suite; `make chaos` rehearses it, too."""


def command(out: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--out", str(out)]
    return [*start, *options]


def content(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "gpu.json").read_text())
    return found


@pytest.mark.slow
def test_the_rehearsal_runs_all_parts(tmp_path: Path) -> None:
    options = ("--minutes", "2", "--parts", *PARTS)
    subprocess.run(command(tmp_path, *options), cwd=ROOT, check=True, timeout=180)
    found = content(tmp_path)
    assert list(found["parts"]) == ["machine", *PARTS]
    assert found["machine"]["torch"]
    for name, part in found["parts"].items():
        if name != "machine":
            assert part["state"] == "done", name
            assert part["measurements"]
            failed = {key for key, it in part["measurements"].items() if "failed" in it}
            assert all(key.startswith("PARQ") for key in failed)  # its library is optional
    if LONG:
        tests = found["parts"]["right"]["measurements"]["tests"]["tests"]
        outcomes = {it["outcome"] for it in tests.values()}
        assert outcomes == {"passed", "skipped"}
    (table,) = found["parts"]["table"]["measurements"].values()
    assert "unfinished" not in table
    assert table["hours_for_181_trials"] > 0


def test_killed_at_any_moment_it_leaves_what_was_done(tmp_path: Path) -> None:
    options = ("--minutes", "1", "--parts", "floors", "others")
    with subprocess.Popen(command(tmp_path, *options), cwd=ROOT) as process:
        while not (tmp_path / "gpu.json").exists() or "floors" not in content(tmp_path)["parts"]:
            time.sleep(0.05)
        while not content(tmp_path)["parts"]["floors"]["measurements"]:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert "rates" in content(tmp_path)["parts"]["floors"]["measurements"]


def test_parts_can_be_sent_to_processes_that_are_started_afresh(tmp_path: Path) -> None:
    """As they are on a GPU, which forks cannot use."""
    from benchmarks.gpu import machine, others
    from benchmarks.gpu.__main__ import PARTS
    from benchmarks.gpu.part import Settings, starting
    from benchmarks.gpu.steps import recipe_for

    settings = Settings("cpu", tmp_path / "data", {"floors": {}}, time.time() + 9)
    parts = (machine.measurements, *(part for part, _ in PARTS.values()))
    recipe = recipe_for(settings)
    sent = (parts, settings, others._train, recipe)
    assert pickle.loads(pickle.dumps(sent)) == sent
    assert starting("cuda").get_start_method() == "spawn"


def test_without_data_the_table_says_so(tmp_path: Path) -> None:
    from benchmarks.gpu import table
    from benchmarks.gpu.part import Settings

    settings = Settings("cuda", tmp_path / "nothing.tar.gz", {}, time.time() + 9)
    (measurement,) = table.measurements(settings)
    with pytest.raises(Exception, match="there is no such file; no table"):
        measurement.take(lambda found: None)
