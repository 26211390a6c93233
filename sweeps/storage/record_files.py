"""JSON files of a trial's folder: one record each, written whole, and read whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Generic, TypeVar

from quantlab import ConfigurationError
from quantlab.training.checkpoint import replacing, set_aside
from sweeps.storage.damage import tell
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode

R = TypeVar("R")


class RecordFile(Generic[R]):
    """A JSON file of a trial's folder: one record, written and replaced as a whole."""

    def __init__(self, path: Path, kind: type[R], *, if_damaged: str) -> None:
        """Nothing is read yet.

        Args:
            path: of the file, in the folder of the trial that it belongs to.
            kind: its content, a class of `sweeps.storage.records`.
            if_damaged: what is done then, for people.
        """
        self.path = path
        self._kind = kind
        self._if_damaged = if_damaged

    def read(self) -> R | None:
        """The record; None if there is none, or a damaged one, which is told of.

        Raises:
            ConfigurationError: it is of a later version of this program.
            OSError: the file cannot be read now.
        """
        try:
            return self._decoded()
        except DamagedError as error:
            tell(self.path, f"damaged ({error})", self._if_damaged)
            return None

    def write(self, record: R) -> None:
        """Put it in the place of the one before."""
        text = encode(record, self.path.parent.name, indent=1)
        write_atomically(self.path, text + "\n")

    def exists(self) -> bool:
        """Whether there is something, be it damaged."""
        return os.path.lexists(self.path)

    def remove(self) -> None:
        """If there is one. What is damaged is set aside."""
        try:
            self._decoded()
        except DamagedError:
            set_aside(self.path)
        self.path.unlink(missing_ok=True)

    def _decoded(self) -> R | None:
        text = read_text(self.path)
        if text is None:
            return None
        if not text.endswith("}\n"):
            raise DamagedError("cut short" if text else "empty")
        try:
            return decode(self._kind, text[:-1], self.path.parent.name)
        except NewerError as error:
            raise ConfigurationError(f"{self.path}: {error}; update it") from error


def write_atomically(path: Path, text: str) -> None:
    """Readers find the old content or the new, never half of it."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_text(path: Path) -> str | None:
    """A text file; None if there is none.

    Raises:
        DamagedError: it is no text, or no file.
        OSError: it cannot be read now.
    """
    try:
        # Whatever has come into its place, such as a pipe: nothing waits for it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise DamagedError("not UTF-8") from error
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise DamagedError("not a file") from error
        raise
