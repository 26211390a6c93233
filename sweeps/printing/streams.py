"""Keep a command running when its standard streams are closed, full, or no longer read.

Secrets are hidden in everything that is written to them.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal, TextIO

from sweeps.printing.secrets import hide


class TolerantStream:
    """A text stream that discards its output after the first error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """The first error; None if there was none."""

    def write(self, text: str) -> int:
        """Write text without its secrets, or discard it after an error."""
        try:
            if self.error is None:
                self._stream.write(self._encodable(hide(text)))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, unless there was an error."""
        try:
            if self.error is None:
                self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _encodable(self, text: str) -> str:
        """Return the text with escapes for what the stream cannot encode, such as Greek letters.

        A name of a file may have bytes that are no text in any encoding.
        """
        encoding, errors = self._stream.encoding or "utf-8", self._stream.errors or "strict"
        try:
            text.encode(encoding, errors)
        except UnicodeEncodeError:
            return text.encode(encoding, "backslashreplace").decode(encoding)
        return text

    def _give_up(self, error: OSError) -> None:
        self.error = error
        # Text that is left in buffers would raise the error again when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class _Once:
    """A text stream that passes on each distinct line once, as soon as it is complete.

    After the first prompt, such as a debugger's, it passes on everything.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: set[str] = set()
        self._begun = ""
        self._is_interactive = False
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write the complete lines of the text that were not written before."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if self._is_interactive or line not in self._seen:
                    self._seen.add(line)
                    self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """Write an incomplete line too, which may be a prompt, and flush the stream."""
        with self._lock:
            self._is_interactive = self._is_interactive or bool(self._begun)
            self._stream.write(self._begun)
            self._begun = ""
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def each_line_once() -> Iterator[None]:
    """Print each line once that the user's code prints to standard output within a `with` block.

    The lines go to standard error, because a program may read standard output.
    """
    stream: Any = _Once(sys.stderr)
    with redirect_stdout(stream):
        try:
            yield
        finally:
            stream.flush()


@contextmanager
def tolerant(name: Literal["stdout", "stderr"]) -> Iterator[TolerantStream]:
    """Replace a standard stream by a `TolerantStream` within a `with` block."""
    before = getattr(sys, name)
    stream = TolerantStream(before)
    setattr(sys, name, stream)
    try:
        yield stream
    finally:
        stream.flush()
        setattr(sys, name, before)


def open_closed() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise, the next file that is opened, such as a database, would get the number of the stream,
    and libraries would print into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
