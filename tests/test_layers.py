"""The imports that are allowed, from each file's syntax tree: of libraries, and between layers."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "quantlab": {"ray", "mlflow", "optuna", "pandas", "sweeps", "analysis", "tests"},
    "analysis": {"torch", "torchvision", "ray", "mlflow", "optuna", "quantlab", "sweeps", "tests"},
    "sweeps": {"tests"},
}
FILES = [path for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]

FLOORS = {
    "quantlab": (
        "identity",
        "errors",
        "plain_values remembering random_numbers files",
        "quantization_sets schedules update_rules execution tasks",
        "scales",
        "quantizers datasets models",
        "mirror_maps",
        "backward_maps",
        "initial_weights optimizer_spec settings",
        "distillation",
        "recipe",
        "canonical",
        "optim kernels distributed",
        "training taxonomy",
        "packs export",
        "probing",
        "papers",
        "proxconnect_paper",
    ),
    "analysis": (
        "text rounding metric",
        "columns",
        "training_axes knobs",
        "schema",
        "study_schema labels reading joining",
        "statistics",
        "deciding",
        "knob_effects tuning_cost across_settings",
        "protocol",
        "published claims",
        "findings",
        "tables",
        "figures",
        "interactive",
        "report",
    ),
    "sweeps": (
        "printing labels plain_values same_seed",
        "axis cell terminal",
        "block",
        "spec",
        "coordinates",
        "file_system",
        "storage",
        "objective",
        "evaluation",
        "study",
        "quantizer_space",
        "grids",
        "studies",
        "loading",
        "selection",
        "outlines",
        "spending nodes",
        "control",
        "worker tracking",
        "archive",
        "inventory",
        "placement watching",
        "planning slurm",
        "connecting",
        "running",
        "searching",
        "reporting reproduction",
        "deciding",
        "joining",
        "cli",
        "__main__",
    ),
}
"""Package -> its parts (folders and single files), from the lowest layer to the highest."""

IMPORTERS = {
    "ray": {"nodes", "connecting", "running", "placement", "worker"},
    "mlflow": {"tracking"},
    "optuna": {
        "evaluation",
        "study",
        "quantizer_space",
        "studies",
        "storage",
        "searching",
        "reporting",
    },
}
"""Library -> the parts of `sweeps` that import it."""

LATE = {"torchvision", "sklearn", "timm", "onnx", "onnxscript", "mnist1d", "torchao"}
"""Libraries that `quantlab` imports within functions, because they are slow or may be missing."""

MOST_FILES = 12
MOST_LINES = 400


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Modules that a file imports anywhere in it."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                inner = ROOT.joinpath(*str(node.module).split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere in it."""
    return {module.split(".")[0] for module in imports(path)}


def room_of(module: str) -> str:
    """The folder or single file of a package that has a module; empty for its ``__init__.py``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files_of(package: str) -> list[Path]:
    return [path for path in FILES if path.is_relative_to(ROOT / package)]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_layers(package: str) -> None:
    for path in files_of(package):
        assert not imported(path) & FORBIDDEN[package], path


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    there = {room_of(module_of(path)) for path in files_of(package)}
    assert there - {""} == set(" ".join(FLOORS[package]).split())


@pytest.mark.parametrize("package", FLOORS)
def test_no_room_imports_a_room_above_it(package: str) -> None:
    floor = {room: n for n, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    above = []
    for path in files_of(package):
        own = room_of(module_of(path))
        if own == "":  # a package's own file re-exports names of its parts
            continue
        for other in imports(path):
            room = room_of(other)
            if other.split(".")[0] != package or room in ("", own):
                continue
            if floor[room] >= floor[own]:
                above.append(f"{module_of(path)} imports {other}")
    assert above == []  # nor of the same layer


@pytest.mark.parametrize("library", IMPORTERS)
def test_each_library_has_its_rooms(library: str) -> None:
    found = {
        room_of(module_of(path))
        for path in (ROOT / "sweeps").rglob("*.py")
        if library in imported(path)
    }
    assert found == IMPORTERS[library]


def test_slow_libraries_are_imported_where_they_are_used() -> None:
    for path in (ROOT / "quantlab").rglob("*.py"):
        for node in parsed(path).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & LATE, path


def test_rooms_and_files_stay_small_enough_to_find_ones_way() -> None:
    rooms: dict[Path, int] = {}
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, path
        rooms[path.parent] = rooms.get(path.parent, 0) + (path.name != "__init__.py")
    for lists in ("grids", "studies", "cli/commands"):  # to which everybody adds
        del rooms[ROOT / "sweeps" / lists]
    assert not {room: count for room, count in rooms.items() if count > MOST_FILES}


def test_there_is_no_drawer_for_everything() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc")]
