"""Draw docs/architecture.svg: the parts of the packages, and their layers, from their imports.

Run it from the root of the repository: ``python docs/draw_architecture.py``.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGES = {
    "quantlab": "trains one recipe; torch, numpy, safetensors",
    "sweeps": "runs many recipes: Ray Tune, MLflow, Optuna",
    "analysis": "tables in, reports out; pandas and matplotlib only",
}
"""Package -> what it is for, from left to right."""
GRAPH_KEY = "rooms "
"""The picture's description consists of this text and the digest of what it shows."""

WIDTH, HEIGHT, GAP = 3.8, 0.5, 0.14
FILL, EDGE, TEXT, NOTE = "#eef3fb", "#7a95c4", "#1b2a41", "#52627a"


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """The dotted names and files of a package, without its own ``__init__.py``."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != package and parts[-1] != "__main__":
            yield name, path


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports from, and each of them with a name that it imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_below(package: str) -> dict[str, set[str]]:
    """Each part of a package, a folder or a single file, with the parts that it imports."""
    below: dict[str, set[str]] = {name.split(".")[1]: set() for name, _ in modules(package)}
    for name, path in modules(package):
        room = name.split(".")[1]
        for other in imports(path):
            parts = other.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] in below and parts[1] != room:
                below[room].add(parts[1])
    return below


def floors(below: dict[str, set[str]]) -> list[list[str]]:
    """Parts by layer, from the lowest: each is one layer above the highest that it imports.

    Raises:
        ValueError: parts import each other in a cycle.
    """
    floor: dict[str, int] = {}
    while len(floor) < len(below):
        ready = [room for room in below if room not in floor and below[room] <= set(floor)]
        if not ready:
            raise ValueError(f"a circle among {sorted(set(below) - set(floor))}")
        for room in ready:
            floor[room] = 1 + max((floor[other] for other in below[room]), default=-1)
    return [
        sorted(room for room in floor if floor[room] == height)
        for height in range(1 + max(floor.values()))
    ]


def longest_line(room: str) -> int:
    """Number of characters of the longer line of a name that is broken at its underscore."""
    return max(map(len, room.replace("_", "_\n").split("\n")))


def digest() -> str:
    """Digest of what the picture shows."""
    graph = {package: sorted(floors(rooms_below(package))) for package in PACKAGES}
    return hashlib.sha256(repr(graph).encode()).hexdigest()[:16]


def draw() -> None:
    """Write the picture."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "rooms", "font.family": "sans-serif"}
    levels = {package: floors(rooms_below(package)) for package in PACKAGES}
    tallest = max(map(len, levels.values()))
    figure, axes = plt.subplots(figsize=(12.6, 0.64 * tallest + 1.7))
    axes.set_xlim(0, 3 * (WIDTH + 0.4))
    axes.set_ylim(-0.5, tallest * (HEIGHT + GAP) + 1.0)
    axes.axis("off")
    top = tallest * (HEIGHT + GAP)
    for column, (package, purpose) in enumerate(PACKAGES.items()):
        left = column * (WIDTH + 0.4) + 0.1
        axes.text(left, top + 0.55, package, size=15, weight="bold", color=TEXT)
        axes.text(left, top + 0.22, purpose, size=9, color=NOTE)
        for height, rooms in enumerate(levels[package]):
            whole = WIDTH - GAP * (len(rooms) - 1)
            longest_of = {room: longest_line(room) if len(rooms) > 4 else 1 for room in rooms}
            x, y = left, height * (HEIGHT + GAP)
            for room in rooms:
                width = whole * longest_of[room] / sum(longest_of.values())
                is_folder = (ROOT / package / room).is_dir()
                axes.add_patch(
                    FancyBboxPatch(
                        (x, y),
                        width,
                        HEIGHT,
                        boxstyle="round,pad=0,rounding_size=0.08",
                        facecolor=FILL if is_folder else "white",
                        edgecolor=EDGE,
                        linewidth=1.0,
                    )
                )
                label = f"{room}/" if is_folder else room
                lines = label.replace("_", "_\n") if len(rooms) > 2 else label
                longest = max(map(len, lines.split("\n")))
                axes.text(
                    x + width / 2,
                    y + HEIGHT / 2,
                    lines,
                    ha="center",
                    va="center",
                    linespacing=0.95,
                    size=min(10.5, 72 * width / (0.68 * longest)),
                    color=TEXT,
                )
                x += width + GAP
    axes.text(
        0.1,
        -0.3,
        "Shaded: a folder; white: a single file. Each imports only what lies below it. `sweeps` "
        "imports `quantlab` and `analysis`; these import neither each other nor `sweeps`.",
        size=9,
        color=NOTE,
    )
    figure.tight_layout(pad=0.4)
    figure.savefig(PICTURE, metadata={"Date": None, "Description": GRAPH_KEY + digest()})
    plt.close(figure)


if __name__ == "__main__":
    draw()
