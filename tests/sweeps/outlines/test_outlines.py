"""Outlines of sweeps: they say what the sweeps say, and count only with the code that made them."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.loading import load_sweep
from sweeps.outlines import state_of_code
from sweeps.outlines.kept import keep_outlines, load_outlined
from sweeps.outlines.outline import OutlinedCell
from sweeps.outlines.state_of_code import uses_other_code
from sweeps.planning.preflight import notes_by_cell
from sweeps.spec import SweepSpec
from tests.conftest import Command
from tests.sweeps.sweep_files import TINY

FIELDS = ("sweep", "block", "method", "coordinates", "fingerprint", "configuration_id")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def is_outlined(sweep: SweepSpec) -> bool:
    return all(isinstance(cell, OutlinedCell) for cell in sweep.cells)


# With trials that start from others, with published costs, and with steps instead of passes.
@pytest.mark.parametrize("name", ["cifar10_jpeg_fine_tuning", "bytes_gpt_smoke"])
def test_an_outline_says_what_the_sweep_says(
    name: str, cache: Path, quick_command: Command, tmp_path: Path
) -> None:
    commands = (
        ("plan", name),
        ("plan", name, "--json"),
        ("plan", name, "--only", "seed=0"),
        ("status", name),
    )
    first, again = (
        [quick_command(tmp_path, *arguments) for arguments in commands] for _ in range(2)
    )
    assert [(done.returncode, done.stdout) for done in again] == [
        (done.returncode, done.stdout) for done in first
    ]
    assert [done.returncode for done in first] == [0, 0, 0, 1]
    (file,) = (cache / "quantlab" / "outlines").iterdir()
    kept = json.loads(file.read_text())["outline"]
    sweep, outlined = load_sweep(name), load_outlined(name)
    assert is_outlined(outlined)
    for attribute in ("name", "description", "experiment", "seeds"):
        assert getattr(outlined, attribute) == getattr(sweep, attribute)
    for block, other in zip(outlined.blocks, sweep.blocks, strict=True):
        assert (block.label, block.method, block.seeds, block.cost) == (
            *(other.label, other.method, other.seeds, other.cost),
        )
    for cell, fresh in zip(outlined.cells, sweep.cells, strict=True):
        assert [getattr(cell, field) for field in FIELDS] == [
            getattr(fresh, field) for field in FIELDS
        ]
        assert (cell.name, cell.seed, cell.parents) == (fresh.name, fresh.seed, fresh.parents)
    _assert_facts_are_those_of(replace(sweep), kept)


def _assert_facts_are_those_of(sweep: SweepSpec, kept: dict[str, Any]) -> None:
    """All facts are computed again, from the recipes."""
    notes = notes_by_cell(sweep.cells)
    names = kept["cells"][0]["facts"].keys()
    assert len(names) > 6
    for cell, row, lines in zip(sweep.cells, kept["cells"], notes, strict=True):
        assert row["facts"].keys() == names
        for name, place in row["facts"].items():
            module, _, function = name.rpartition(".")
            if function == "notes without files":
                value: object = lines
            elif module == "sweeps.cell.Cell":
                value = getattr(cell, function)
            else:
                value = getattr(importlib.import_module(module), function)(cell)
            assert value == kept["values"][place], name


def test_a_recipe_that_is_needed_is_that_of_the_sweep(cache: Path) -> None:
    for _ in range(2):
        outlined = load_outlined("cifar10_jpeg_smoke")
        assert outlined.cells[1].seed == 0
        keep_outlines()
    assert is_outlined(outlined)
    recipes = [cell.recipe for cell in load_sweep("cifar10_jpeg_smoke").cells]
    assert [cell.recipe for cell in outlined.cells] == recipes


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state_of_code": "of another release"}'])
def test_a_file_of_other_code_or_without_an_outline_is_replaced(content: str, cache: Path) -> None:
    assert load_outlined("cifar10_jpeg_smoke").cells[0].seed == 0
    keep_outlines()
    (file,) = (cache / "quantlab" / "outlines").iterdir()
    whole = file.read_text()
    file.write_text(content)
    sweep = load_outlined("cifar10_jpeg_smoke")
    assert not is_outlined(sweep)
    assert sweep.cells[0].seed == 0
    keep_outlines()
    assert file.read_text() == whole


def test_a_cache_that_cannot_be_written_is_no_error(
    cache: Path, quick_command: Command, tmp_path: Path
) -> None:
    cache.write_text("a file in the place of the folder")
    for _ in range(2):
        assert quick_command(tmp_path, "plan", "cifar10_jpeg_smoke").returncode == 0


def test_a_user_without_a_home_needs_no_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, quick_command: Command, tmp_path: Path
) -> None:
    """Such as in a container that runs with any user ID."""
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    for _ in range(2):
        assert quick_command(tmp_path, "plan", "cifar10_jpeg_smoke").returncode == 0


def test_nothing_is_kept_of_a_users_file(
    cache: Path, quick_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    assert quick_command(tmp_path, "plan", "tiny.py").returncode == 0
    assert not cache.exists()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages of a project with one sweep."""
    (tmp_path / "sweeps" / "grids").mkdir(parents=True)
    (tmp_path / "quantlab").mkdir()
    monkeypatch.setattr(state_of_code, "PACKAGES", tmp_path)
    return tmp_path


def test_any_change_of_a_file_is_another_state(packages: Path) -> None:
    states = set()
    file = packages / "quantlab" / "recipe.py"
    for content in ("a = 1", "a = 2"):
        file.write_text(content)
        states.add(state_of_code.state_of_code.__wrapped__())
    file.rename(file.with_name("recipes.py"))
    states.add(state_of_code.state_of_code.__wrapped__())
    assert len(states) == 3
    (packages / "quantlab" / "__pycache__").mkdir()
    (packages / "quantlab" / "__pycache__" / "recipes.pyc").write_bytes(b"compiled")
    assert state_of_code.state_of_code.__wrapped__() in states


@pytest.mark.parametrize(
    ("content", "is_other"),
    [
        ("import math\nimport torch\nfrom quantlab import Recipe", False),
        ("from sweeps.grids.second import SWEEP", True),
        ("from tests.sweeps import sweep_files", True),
        ("def late():\n    import a_module_that_is_not_there", True),
    ],
)
def test_a_sweep_that_imports_a_users_file_has_no_outline(
    content: str, is_other: bool, packages: Path
) -> None:
    (packages / "sweeps" / "grids" / "first.py").write_text(content)
    (packages / "sweeps" / "grids" / "second.py").write_text("import tests.sweeps.sweep_files")
    assert uses_other_code("sweeps.grids.first") == is_other
