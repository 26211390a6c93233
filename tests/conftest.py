"""A small sweep of a user's own file, run once by the command itself: real Ray, real MLflow."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sweeps.cli import main
from tests.sweeps.sweep_files import TINY

torch.set_num_threads(1)  # as in trials; more would fight with what the tests start

SWEEPS = str(Path(sys.executable).with_name("sweeps"))
"""The command as it is installed."""

Command = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Ran:
    """What `sweeps run` left."""

    folder: Path
    """Working directory; the sweep is tiny.py in it, the storage runs/."""
    output: str


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sweeps ARGUMENTS` in a folder."""
    return subprocess.run(
        [SWEEPS, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def command() -> Command:
    return run_command


@pytest.fixture
def quick_command() -> Command:
    """The same within this process, for what goes wrong before anything is started."""

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        output, errors = io.StringIO(), io.StringIO()
        with chdir(folder), redirect_stdout(output), redirect_stderr(errors):
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    return run


@pytest.fixture
def tiny_copy(tiny: Ran, tmp_path: Path) -> Path:
    """A folder with `tiny` as it is after `sweeps run`; its MLflow store is the original's."""
    shutil.copytree(tiny.folder, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.py").write_text(TINY)
    done = run_command(folder, "run", "tiny.py", "--concurrency", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return Ran(folder, done.stdout)
