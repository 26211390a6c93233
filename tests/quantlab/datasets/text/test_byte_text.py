"""Texts of bytes: their windows, their files, and Python's standard library as a text."""

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quantlab import ConfigurationError
from quantlab.datasets.base import DatasetSpec
from quantlab.datasets.content import _of_files, content_of
from quantlab.datasets.text import standard_library
from quantlab.datasets.text.byte_text import ByteText
from quantlab.datasets.text.standard_library import StandardLibrary
from quantlab.datasets.text.windows import Windows

TEXT = bytes(range(256)) + bytes(range(255, -1, -1))
"""512 bytes."""


def small(**changes: object) -> ByteText:
    settings = {"path": "a.txt", "length": 10, "validation_images": 7, "test_images": 5}
    return ByteText(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(TEXT)
    return tmp_path


def test_every_byte_after_the_first_is_predicted_once(data: Path) -> None:
    spec = small()
    splits = spec.load(data)
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [51 - 12, 7, 5]
    assert splits.num_classes == 256
    seen, predicted = b"", b""
    for part in parts:
        for inputs, targets in spec.batches(part, batch_size=4):
            assert inputs.dtype == targets.dtype == torch.int64
            assert torch.equal(inputs[:, 1:], targets[:, :-1])
            seen += bytes(inputs.flatten().tolist())
            predicted += bytes(targets.flatten().tolist())
    assert seen == TEXT[:510]
    assert predicted == TEXT[1:511]


def test_batches_follow_the_order_and_are_those_of_the_dimensions(data: Path) -> None:
    spec = small()
    train = spec.load(data).train
    order = torch.tensor([30, 2, 11])
    (inputs, targets), _ = spec.batches(train, batch_size=2, order=order)
    assert bytes(inputs[0].tolist()) == TEXT[300:310]
    assert bytes(targets[1].tolist()) == TEXT[21:31]
    found = spec.find_dimensions(data)
    assert (found.num_classes, found.input, found.dtype) == (256, (10,), torch.int64)
    assert (found.target, found.target_dtype) == ((10,), torch.int64)
    assert found == spec.dimensions_of(spec.load(data))
    stacked = spec.stacked_batches(
        train, batch_size=2, orders=torch.stack([order, order.flip(0)]), random_numbers=()
    )
    both, _ = next(iter(stacked))
    assert torch.equal(both[0], inputs)
    assert both.shape == (2, 2, 10)


def test_a_text_is_not_copied(data: Path) -> None:
    splits = small().load(data)
    for part in (splits.train, splits.validation, splits.test):
        assert isinstance(part, Windows)
        assert part.table.dtype == torch.uint8
        assert part.table.untyped_storage().nbytes() == len(TEXT)
        assert part.labels.data_ptr() == part.table.data_ptr() + 1
    assert len(small(train_images=3).load(data).train) == 3


def test_fewer_windows_are_drawn_with_the_seed_of_the_split(data: Path) -> None:
    def starts(**changes: object) -> list[int]:
        spec = small(train_images=20, **changes)
        ((inputs, _),) = spec.batches(spec.load(data).train, batch_size=50)
        return [TEXT.index(bytes(one.tolist())) for one in inputs]

    first = starts()
    assert first == starts()
    assert sorted(first) != sorted(starts(split_seed=1))
    assert len(set(first)) == 20
    assert max(first) < 390


def test_validation_may_be_the_test_text(data: Path) -> None:
    splits = small(validation_images=0, validation_split="test").load(data)
    assert isinstance(splits.validation, Windows)
    assert isinstance(splits.test, Windows)
    assert torch.equal(splits.validation.table, splits.test.table)
    assert len(splits.train) == 46


def test_the_files_of_a_folder_are_joined_by_name(tmp_path: Path) -> None:
    for name, content in (
        ("b/2.txt", "two"),
        ("b/1.txt", "one"),
        ("a.txt", "zero"),
        ("c.md", "no"),
        (".hidden.txt", "no"),
        ("b/.git/x.txt", "no"),
    ):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    spec = small(path="texts", pattern="*.txt", length=2, validation_images=1, test_images=1)
    spec.check(tmp_path)
    assert bytes(spec.text(tmp_path).tolist()) == b"zeroonetwo"
    assert spec.name == "texts"
    read, everything = content_now(spec, tmp_path), content_now(small(path="texts"), tmp_path)
    assert "" != read != everything
    (tmp_path / "texts" / "c.md").write_text("another")  # which only one of them reads
    assert content_now(spec, tmp_path) == read
    assert content_now(small(path="texts"), tmp_path) != everything
    (tmp_path / "texts" / "a.txt").write_text("nought")
    assert content_now(spec, tmp_path) != read


def test_the_text_of_linked_folders_is_read_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_bytes(b"cdefgh")
    (tmp_path / "data" / "texts").mkdir(parents=True)
    (tmp_path / "data" / "texts" / "a.txt").write_bytes(b"ab")
    (tmp_path / "data" / "texts" / "linked").symlink_to(tmp_path / "elsewhere")
    spec = small(path="texts", length=2, validation_images=1, test_images=1)
    assert bytes(spec.text(tmp_path / "data").tolist()) == b"abcdefgh"
    before = content_now(spec, tmp_path / "data")
    (tmp_path / "elsewhere" / "b.txt").write_bytes(b"cdefgX")
    assert content_now(spec, tmp_path / "data") != before


def content_now(spec: ByteText, root: Path) -> str:
    _of_files.cache_clear()  # as a new process has it
    return content_of(spec, root)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(length=0), r"ByteText\.length = 0: must be"),
        (lambda: small(path="/etc/passwd"), r"ByteText\.path = .* within the data folder"),
        (lambda: small(pattern="a/*"), r"ByteText\.pattern = 'a/\*': must be a pattern of names"),
        (lambda: small(test_images=None), r"ByteText\.test_images = None: must be a number of"),
        (
            lambda: small(validation_split="random"),
            r"ByteText\.validation_split = 'random': must be last or test",
        ),
        (lambda: StandardLibrary(python="3 11"), r"StandardLibrary\.python = '3 11': must be a"),
        (
            lambda: StandardLibrary(python="3.11.7", sha256="xyz"),
            r"StandardLibrary\.sha256 = 'xyz': must be text of up to 64",
        ),
    ],
)
def test_wrong_fields_are_refused(make: Callable[[], DatasetSpec], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize("method", [DatasetSpec.check, DatasetSpec.load], ids=["check", "load"])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (small(path="b.txt"), r"ByteText\.path = 'b\.txt': the file .*b\.txt does not exist; put"),
        (small(path="folder", pattern="*.txt"), r"ByteText\.pattern = .* has no such file"),
        (
            small(length=40),
            r"a\.txt: the text has 512 bytes, which are 12 windows of 40; must be at least 13 "
            "windows for training, validation and test; use a longer text",
        ),
        (small(train_images=40), r"51 windows of 10; must be at least 52 windows"),
        (small(path="empty.txt"), r"the text has 0 bytes, which are 0 windows"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(
    data: Path, spec: ByteText, message: str, method: Callable[..., object]
) -> None:
    (data / "folder").mkdir()
    (data / "empty.txt").touch()
    name = method.__name__
    with pytest.raises(ConfigurationError, match=message) as raised:
        getattr(spec, name)(data)
    assert "\n" not in str(raised.value)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small library in the place of Python's."""
    for name in (
        *("os.py", "json/__init__.py", "json/tool.py", "_sysconfigdata_x86.py", "turtle.py"),
        *("test/a.py", "json/tests/b.py", "site-packages/c.py", "lib2to3/d.py", "zlib.so"),
    ):
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n" * 3)
    monkeypatch.setattr(standard_library, "get_path", lambda name: str(tmp_path / "library"))
    return tmp_path / "data"


HERE = platform.python_version()


def of_library(python: str = HERE, sha256: str = "") -> StandardLibrary:
    return StandardLibrary(
        python=python, sha256=sha256, length=4, validation_images=2, test_images=2
    )


def test_the_library_is_written_once_in_the_order_of_names(library: Path) -> None:
    spec = of_library()
    spec.check(library)
    (path,) = library.iterdir()
    assert (path.name,) == spec.files == (f"python-{HERE}-library.txt",)
    names = ("json/__init__.py", "json/tool.py", "os.py")
    expected = "".join(f"# {name}\n" * 3 for name in names).encode()
    assert path.read_bytes() == bytes(spec.text(library).tolist()) == expected
    path.write_bytes(expected[:-1])
    spec.check(library)
    assert path.read_bytes() == expected[:-1]
    digest = hashlib.sha256(expected[:-1]).hexdigest()
    of_library(sha256=digest[:16]).check(library)
    message = (
        rf"StandardLibrary\.sha256 = 'abcd': the file .*library\.txt has {digest[:16]}, .*; copy"
    )
    with pytest.raises(ConfigurationError, match=message):
        of_library(sha256="abcd").load(library)


def test_another_pythons_library_is_used_if_its_file_is_there(library: Path) -> None:
    other = of_library("2.7.18")
    with pytest.raises(
        ConfigurationError,
        match=rf"python = '2\.7\.18': the file .* does not exist, and this is Python {HERE}, .*; "
        r"copy the file .*, use Python 2\.7\.18, or set python=",
    ):
        other.check(library)
    assert not library.exists()
    library.mkdir()
    (library / "python-2.7.18-library.txt").write_bytes(TEXT)
    assert len(other.load(library).train) == 127 - 4
    assert other.name == "Python 2.7.18"


def test_the_library_of_this_python_is_a_text() -> None:
    sources = standard_library._sources()
    names = [path.name for path in sources]
    assert {"argparse.py", "decoder.py"} < set(names)
    assert not [path for path in sources if "test" in path.parts or "site-packages" in path.parts]
    assert sum(path.stat().st_size for path in sources) > 5_000_000
