"""Names of files that are not yet whole."""

import ast
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from quantlab.datasets.text import standard_library
from quantlab.datasets.text.standard_library import StandardLibrary
from quantlab.files.partial import partial_of

ROOT = Path(__file__).parents[3]


def test_a_partial_file_is_beside_its_file_and_of_one_writer_only(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    first, second = partial_of(file), partial_of(file)
    assert first != second
    assert first.parent == file.parent
    assert first.match(".weights.pt.*.partial")
    assert str(partial_of(PurePosixPath("trials/0a.tar"))).startswith("trials/.0a.tar.")


def test_what_cannot_be_written_to_its_end_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sources() -> Iterator[Path]:
        yield Path(__file__)
        raise OSError("the disk is full")

    monkeypatch.setattr(standard_library, "_sources", sources)
    with pytest.raises(OSError, match="is full"):
        StandardLibrary(python=platform.python_version()).check(tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_other_file_makes_such_names() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for package in ("quantlab", "sweeps")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        and (text := ast.unparse(node).strip("f'\"")).endswith(".partial")
        and "*" not in text  # which finds such files
    }
    assert makers == {"quantlab/files/partial.py"}
