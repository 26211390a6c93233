"""The code that is kept with trials."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.storage import source_archive
from sweeps.storage.provenance import git_commit, uncommitted_changes
from sweeps.storage.source_archive import LEFT_OUT, give, path_of, store, unpack

FILES = {"tiny.py": b"SWEEP = 1\n", "parts/nets.py": b"WIDTH = 4\n"}


def test_equal_code_is_stored_once_and_each_trial_has_it(tmp_path: Path) -> None:
    digest = store(tmp_path, FILES)
    assert store(tmp_path, dict(reversed(FILES.items()))) == digest
    archive = path_of(tmp_path, digest)
    assert list((tmp_path / "sources").iterdir()) == [archive]
    assert store(tmp_path, FILES | {"tiny.py": b"SWEEP = 2\n"}) != digest
    assert store(tmp_path, {}) == ""
    for name in ("first", "second", "first"):
        give(archive, tmp_path / f"{name}.zip")
    assert (tmp_path / "first.zip").samefile(tmp_path / "second.zip")
    found = unpack(tmp_path / "first.zip", tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in found} == FILES


def test_without_hard_links_each_trial_has_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(old: Path, new: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(source_archive.os, "link", link)
    archive = path_of(tmp_path, store(tmp_path, FILES))
    give(archive, tmp_path / "mine.zip")
    assert (tmp_path / "mine.zip").read_bytes() == archive.read_bytes()
    assert not archive.samefile(tmp_path / "mine.zip")


def test_the_archive_has_no_secrets_and_a_limited_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter22")
    monkeypatch.setattr(source_archive, "MOST_BYTES", 200)
    files = FILES | {"large.py": b"#" * 190, "mine.py": b'KEY = "hunter22"\n', "logo": b"\xff\x00"}
    with zipfile.ZipFile(path_of(tmp_path, store(tmp_path, files))) as archive:
        assert archive.read("mine.py") == b'KEY = "***"\n'
        assert archive.read("logo") == b"\xff\x00"
        assert "large.py" not in archive.namelist()
        notes = archive.read(LEFT_OUT).decode().splitlines()
    assert notes[0].startswith("large.py: left out, 190 bytes with the SHA-256 ")
    assert notes[1:] == ["mine.py: passwords or tokens are replaced by ***"]


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "sources.zip").write_text("no archive")
    with pytest.raises(ConfigurationError, match=r"sources\.zip: is damaged"):
        unpack(tmp_path / "sources.zip", tmp_path / "copy")


def test_changes_of_the_release_that_are_not_committed(tmp_path: Path) -> None:
    """Files of code that are not under version control are a part of them; others are not."""

    def git(*arguments: str) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *own, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert uncommitted_changes(tmp_path) == {}
    for name in ("quantlab/old.py", "sweeps/kept.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    assert uncommitted_changes(tmp_path) == {}
    (tmp_path / "mine.py").write_text("SWEEP = 1\n")
    commit = git_commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (tmp_path / "quantlab" / "old.py").write_text("after\n")
    assert git_commit(tmp_path / "sweeps") == f"{commit}+"  # the answer for a folder is kept
    (tmp_path / "quantlab" / "new.py").write_text("new\n")
    (tmp_path / "quantlab" / ".env").write_text("secret\n")
    (tmp_path / "notes.txt").write_text("private\n")
    found = uncommitted_changes(tmp_path / "sweeps")
    assert found.keys() == {"changes.diff", "quantlab/new.py"}
    assert found["quantlab/new.py"] == b"new\n"
    lines = found["changes.diff"].decode().splitlines()
    assert lines[0] == "diff --git a/quantlab/old.py b/quantlab/old.py"
    assert lines[-2:] == ["-before", "+after"]
