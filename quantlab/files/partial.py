"""Partial files: what a process has not written to its end, under a name of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from secrets import token_hex
from typing import BinaryIO, TypeVar

P = TypeVar("P", bound=PurePath)


def partial_of(path: P) -> P:
    """Return a new name beside a path, under which it is written before it is renamed.

    Such a name begins with a dot and ends in ``.partial``; a process that dies leaves the file.
    Processes in containers may have the same number, so that it has random digits, too.

    Args:
        path: the file, or the path in an archive.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.{token_hex(4)}.partial")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically: a reader finds the old content or the new one.

    Args:
        path: file that is replaced at the end of the block, unless the block fails.

    Yields:
        A binary file to write the new content to.
    """
    partial = partial_of(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
