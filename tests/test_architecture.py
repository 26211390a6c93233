"""The architecture page: its picture is up to date, and the files that it names exist."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_shows_the_rooms_as_they_are() -> None:
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawing["GRAPH_KEY"] + drawing["digest"]() in picture, "run docs/draw_architecture.py"


def test_the_page_names_files_that_are_there() -> None:
    named = re.findall(r"`((?:quantlab|sweeps|analysis|tests|docs)/[\w/.]+)`", PAGE)
    assert len(named) > 30
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_room_is_described() -> None:
    for package in ("quantlab", "sweeps", "analysis"):
        for path in (ROOT / package).iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                assert f"{path.name}/`" in PAGE
            elif path.suffix == ".py" and not path.name.startswith("__"):
                assert f"{path.name}`" in PAGE, "describe it in docs/architecture.md"
