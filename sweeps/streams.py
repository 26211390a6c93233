"""Standard streams that nobody reads, are full or closed: no reason to end a sweep.

What is secret does not get through.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal, TextIO

from sweeps.secrets import hide


class TolerantStream:
    """A text stream that goes on in silence once it cannot be written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """Why it is silent."""

    def write(self, text: str) -> int:
        """As a text stream's."""
        try:
            if self.error is None:
                self._stream.write(hide(text))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """As a text stream's."""
        try:
            if self.error is None:
                self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        # What is left in buffers would be an error again when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class _Once:
    """A text stream that passes on each line at its first time only, as soon as it is there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: set[str] = set()
        self._begun = ""

    def write(self, text: str) -> int:
        """As a text stream's."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line not in self._seen:
                self._seen.add(line)
                self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """As a text stream's; what is not a whole line yet may be a question to the user."""
        self._stream.write(self._begun)
        self._begun = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def each_line_once() -> Iterator[None]:
    """Show what the user's own code prints while it is tried out, each line once.

    It goes to the standard error, as the standard output may be read by a program.
    """
    stream: Any = _Once(sys.stderr)
    with redirect_stdout(stream):
        try:
            yield
        finally:
            stream.flush()


@contextmanager
def tolerant(name: Literal["stdout", "stderr"]) -> Iterator[TolerantStream]:
    """Make one of the standard streams patient."""
    before = getattr(sys, name)
    stream = TolerantStream(before)
    setattr(sys, name, stream)
    try:
        yield stream
    finally:
        stream.flush()
        setattr(sys, name, before)


def open_closed() -> None:
    """Give a closed standard stream the null device.

    Otherwise the next file that is opened, such as a database, would get its number, and whatever a
    library prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
