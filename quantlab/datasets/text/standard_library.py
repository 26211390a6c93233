"""StandardLibrary: the source code of Python's standard library as a text."""

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from sysconfig import get_path

from torch import Tensor

from quantlab.datasets.text.windows import ByteDataset, mapped
from quantlab.errors import ConfigurationError, brief
from quantlab.files.partial import replacing

_LEFT_OUT = frozenset(
    {
        *("test", "tests", "idle_test"),  # large, and not part of every installation
        *("tkinter", "idlelib", "turtledemo", "turtle.py", "lib2to3", "distutils"),
        *("ensurepip", "venv", "pydoc_data"),  # distributions of Linux change these, or split them
        *("site-packages", "dist-packages", "lib-dynload", "__pycache__"),
    }
)
"""Files and folders that are no part of the text."""
_MADE = ("_sysconfigdata", "config-")
"""Beginnings of the names of files and folders that differ from machine to machine."""


@dataclass(frozen=True, kw_only=True)
class StandardLibrary(ByteDataset):
    """The .py files of Python's standard library, joined in the order of their names.

    Every installation has this text, so that nothing is downloaded: 9 MB of English and Python. It
    is written once to ``python-<version>-library.txt`` in the data folder, by a Python of the same
    version. A file that is already there is used by every Python.

    Without tests, packages that are installed later, and the parts that distributions split off or
    change, the text is the same on every machine with a Python that was built from its sources.
    """

    python: str
    """Version of Python whose library it is, such as ``"3.11.7"``."""
    sha256: str = ""
    """First digits of the SHA-256 of the text, so that a recipe has one meaning; "" for no
    check."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.python, str) or not re.fullmatch(r"[\w.+]+", self.python):
            raise ConfigurationError(
                f"StandardLibrary.python = {brief(self.python)}: must be a version of Python, such "
                f"as {platform.python_version()!r}"
            )
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{0,64}", self.sha256):
            raise ConfigurationError(
                f"StandardLibrary.sha256 = {brief(self.sha256)}: must be text of up to 64 "
                "hexadecimal digits"
            )

    @property
    def name(self) -> str:
        """Name in tables, such as ``Python 3.11.7``."""
        return f"Python {self.python}"

    @property
    def files(self) -> tuple[str, ...]:
        """The file of the text."""
        return (f"python-{self.python}-library.txt",)

    def check(self, data_dir: Path) -> None:
        """Write the text if it is missing, and check its hash and length."""
        path = data_dir / self.files[0]
        if not path.exists():
            self._write(path)
        self._require_hash(path)
        self._require_long_enough(path.stat().st_size)

    def text(self, data_dir: Path) -> Tensor:
        """Return the bytes of the text, which is written if it is missing."""
        self.check(data_dir)
        with (data_dir / self.files[0]).open("rb") as file:
            return mapped(file)

    def _write(self, path: Path) -> None:
        running = platform.python_version()
        if running != self.python:
            raise ConfigurationError(
                f"StandardLibrary.python = {self.python!r}: the file {path} does not exist, and "
                f"this is Python {running}, whose library is another text; copy the file from a "
                f"machine that has it, use Python {self.python}, or set python={running!r} with "
                "its own sha256"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            for source in _sources():
                file.write(source.read_bytes())

    def _require_hash(self, path: Path) -> None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(self.sha256):
            raise ConfigurationError(
                f"StandardLibrary.sha256 = {self.sha256!r}: the file {path} has {found[:16]}, so "
                f"that it was changed, or the Python {self.python} that it was made with; copy the "
                "file from a machine with the right one, or set sha256 to that of this file"
            )


def _sources() -> list[Path]:
    """Return the files of the library of the running Python, in the order of their names."""
    root = Path(get_path("stdlib"))
    found = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if _belongs(name)]
        found += [Path(folder, name) for name in files if name.endswith(".py") and _belongs(name)]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _belongs(name: str) -> bool:
    return name not in _LEFT_OUT and not name.startswith(_MADE)
