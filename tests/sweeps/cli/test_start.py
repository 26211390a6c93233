"""The start of the command: what is imported before it answers."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.analysis.frames import trials
from tests.conftest import SWEEPS, Command, run_command
from tests.sweeps.sweep_files import TINY

HEAVY = {
    *("torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "PIL"),
    *("mlflow", "ray", "optuna", "sqlalchemy", "pyarrow", "safetensors"),
}
COUNTED = """
import sys
before = set(sys.modules)
from sweeps.cli import main
code = 0
try:
    code = main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print("\\n", code, *(set(sys.modules) - before))
"""


def imported(folder: Path, *arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command, and the modules that it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *arguments],
        cwd=folder,
        env={"XDG_CACHE_HOME": str(folder / "cache"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    return int(code), set(modules)


@pytest.mark.parametrize(
    ("arguments", "most"), [(("--help",), 200), (("plan", "--help"), 200), (("runn",), 200)]
)
def test_help_and_errors_import_little(
    arguments: tuple[str, ...], most: int, tmp_path: Path
) -> None:
    _, modules = imported(tmp_path, *arguments)
    assert not modules & HEAVY
    assert len(modules) <= most


def test_commands_that_look_import_little_once_the_sweep_has_an_outline(
    quick_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert quick_command(tmp_path, "plan", "cifar10_jpeg_smoke").returncode == 0
    for arguments in (("plan", "cifar10_jpeg_smoke"), ("status", "cifar10_jpeg_smoke")):
        code, modules = imported(tmp_path, *arguments)
        assert code == (arguments[0] == "status")
        assert not modules & HEAVY
        assert len(modules) <= 350, sorted(modules)


def test_status_of_a_users_own_sweep_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    code, modules = imported(tmp_path, "status", "tiny.py")
    assert code == 1  # nothing has finished
    assert "torch" in modules
    assert not modules & {"torch._dynamo", "mlflow", "ray", "optuna", "pandas"}


def test_a_report_on_a_table_does_not_import_mlflow(tmp_path: Path) -> None:
    rows = [("PC", "binary", rho0, seed, 0.9) for rho0 in (0.1, 0.2) for seed in (0, 1)]
    trials(rows).to_csv(tmp_path / "mine.csv", index=False)
    code, modules = imported(tmp_path, "report", "mine.csv", "--format", "csv")
    assert code == 0
    assert "pandas" in modules
    assert not modules & {"mlflow", "ray"}


def test_the_version_is_that_of_everything_that_matters(tmp_path: Path) -> None:
    done = run_command(tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    versions = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert versions["quantlab"].startswith(version("quantlab"))
    for package in ("torch", "ray", "mlflow", "optuna", "numpy"):
        assert versions[package] == version(package)
    assert versions["python"] == platform.python_version()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("raport", "digits"), "argument COMMAND: 'raport' is unknown (did you mean 'report'?)"),
        (("report", "digits", "--format", "latx"), "'latx' is not a format (did you mean 'latex'"),
        (("report", "digits", "--compare", "proxconect"), "(did you mean 'proxconnect'?)"),
        (
            ("export", "digits", "--best", "--out", "x", "--format", "onx"),
            "'onx' is unknown (did you mean 'onnx'?); must be one of safetensors, onnx",
        ),
    ],
)
def test_what_is_similar_is_suggested(
    arguments: tuple[str, ...], message: str, quick_command: Command, tmp_path: Path
) -> None:
    done = quick_command(tmp_path, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


TRIED = """
source <(sweeps completion bash)
for COMP_LINE in "$@"; do
    COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_WORDS=($COMP_LINE) COMPREPLY=()
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _python_argcomplete sweeps "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    echo ${COMPREPLY[*]}
done
"""


def test_bash_completes_commands_options_names_files_and_trials(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / "runs" / "trials" / "0a1b2c3d4e5f6071").mkdir(parents=True)
    expected = {
        "sweeps ver": "verify",
        "sweeps plan proxconnect_s": "proxconnect_smoke",
        "sweeps run mi": "mine.py mirror_descent_binary",
        "sweeps show --tri": "--trial",
        "sweeps log 0a": "0a1b2c3d4e5f6071",
        "sweeps reproduce 0a": "0a1b2c3d4e5f6071",
        "sweeps export digits --format s": "safetensors",
    }
    path = os.pathsep.join([str(Path(SWEEPS).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", TRIED, "bash", *expected],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = [line.split() for line in done.stdout.splitlines()]
    for words, answer in zip(found, expected.values(), strict=True):
        assert set(answer.split()) <= set(words)
        assert len(words) == 1 or "mine.txt" not in words
