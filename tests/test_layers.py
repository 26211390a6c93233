"""Who may import whom, read off each file's syntax tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "quantlab": {"ray", "mlflow", "optuna", "pandas", "sweeps", "analysis", "tests"},
    "analysis": {"torch", "torchvision", "ray", "mlflow", "optuna", "quantlab", "sweeps", "tests"},
    "sweeps": {"tests"},
}
FILES = [path for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert not imported(path) & FORBIDDEN[package]


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        (
            "ray",
            {
                "launch.py",
                "ray_cluster.py",
                "hooks.py",
                "failure_reason.py",
                "worker.py",
                "probe.py",
                "gpu_probe.py",
            },
        ),
        ("mlflow", {"tracking.py", "tracking_comparison.py", "tracking_experiment.py"}),
    ],
)
def test_each_service_has_its_importers(library: str, importers: set[str]) -> None:
    found = {path.name for path in (ROOT / "sweeps").rglob("*.py") if library in imported(path)}
    assert found == importers


def test_there_is_no_drawer_for_everything() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc")]
