"""Standard streams that nobody reads, are full or closed: no reason to end a sweep.

What is secret does not get through.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from sweeps.secrets import hide


class PatientStream:
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


@contextmanager
def patient(name: Literal["stdout", "stderr"]) -> Iterator[PatientStream]:
    """Make one of the standard streams patient."""
    before = getattr(sys, name)
    stream = PatientStream(before)
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
