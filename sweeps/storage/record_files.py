"""RecordFile: a JSON file of a trial folder with one record, read and written as a whole."""

import errno
import os
from pathlib import Path
from typing import Generic, TypeVar

from quantlab import ConfigurationError
from quantlab.files.partial import replacing
from quantlab.training.checkpoint import set_aside
from sweeps.storage.damage import warn_of_damage
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode

R = TypeVar("R")


class RecordFile(Generic[R]):
    """A JSON file of a trial folder with one record."""

    def __init__(self, path: Path, record_type: type[R], *, if_damaged: str) -> None:
        """Describe the file without reading it.

        Args:
            path: path of the file, in the folder of its trial.
            record_type: class of the record, from `sweeps.storage.records`.
            if_damaged: the consequence of a damaged file, for the warning.
        """
        self.path = path
        self._record_type = record_type
        self._if_damaged = if_damaged

    def read(self) -> R | None:
        """Return the record; None if there is no file, or after a warning if it is damaged.

        Raises:
            ConfigurationError: a later version of this program wrote the file.
            OSError: the file cannot be read now.
        """
        try:
            return self._decoded()
        except DamagedError as error:
            warn_of_damage(self.path, f"is damaged ({error})", self._if_damaged)
            return None

    def write(self, record: R) -> None:
        """Write a record in place of the previous one."""
        text = encode(record, self.path.parent.name, indent=1)
        write_atomically(self.path, text + "\n")

    def exists(self) -> bool:
        """Whether there is a file, intact or damaged."""
        return os.path.lexists(self.path)

    def remove(self) -> None:
        """Remove the file if there is one; a damaged file is set aside."""
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
            raise DamagedError("truncated" if text else "empty")
        try:
            return decode(self._record_type, text[:-1], self.path.parent.name)
        except NewerError as error:
            raise ConfigurationError(f"{self.path}: {error}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write a text file such that readers find either the old or the new content."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_text(path: Path) -> str | None:
    """Return the content of a text file; None if there is no file.

    On NFS, a file that is replaced just now may be gone once it is open. Then the new one is read.

    Raises:
        DamagedError: the content is not text, or the path is not that of a file.
        OSError: the file cannot be read now.
    """
    try:
        try:
            return _content(path).decode("utf-8")
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return _content(path).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise DamagedError("not UTF-8") from error
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise DamagedError("not a file") from error
        raise


def _content(path: Path) -> bytes:
    # Do not wait for data if there is, for example, a pipe in place of the file.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read()
