"""Files in the data folder: checks of their names, and those within a folder."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from quantlab.errors import ConfigurationError, brief


def require_relative(owner: object, field: str) -> None:
    """Check that a field is a path relative to the data folder.

    Args:
        owner: a dataclass.
        field: name of the field.

    Raises:
        ConfigurationError: if the path is absolute, leaves the data folder, or is not text.
    """
    value = getattr(owner, field)
    if isinstance(value, str) and value:
        path = PurePosixPath(value)
        if not path.is_absolute() and ".." not in path.parts:
            return
    raise ConfigurationError(
        f"{type(owner).__name__}.{field} = {brief(value)}: must be a name within the data folder"
    )


def versions_of(names: Sequence[str], data_dir: Path) -> tuple[tuple[int, ...] | None, ...]:
    """Return what differs if a file was replaced or written to, or a folder has other entries.

    It is quick, because files in folders are not looked at.

    Args:
        names: files and folders within the data folder.
        data_dir: the data folder.

    Returns:
        Time, size and number of each file and folder; None for what does not exist.
    """
    found: list[tuple[int, ...] | None] = []
    for name in names:
        try:
            status = os.stat(data_dir / name)
        except OSError:  # which is reported when it is read
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def files_under(path: str, pattern: str) -> Iterator[str]:
    """Yield a file, or the files in a folder and in the folders within it, in no order.

    Links to files and folders are followed. Hidden files and folders are left out.

    Args:
        path: a file, a folder, or something that does not exist and has no files.
        pattern: shell-style pattern of the names of files in a folder.
    """
    if os.path.isfile(path):
        yield path
    for folder, inner, files in os.walk(path, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from (
            os.path.join(folder, name)
            for name in files
            if not name.startswith(".") and fnmatchcase(name, pattern)
        )
