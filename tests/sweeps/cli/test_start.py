"""The start of the command: what is imported before it answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command

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
