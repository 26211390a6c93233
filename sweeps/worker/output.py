"""Keep what a trial prints in its folder.

While a trial is trained, standard output and standard error of the process are its
`TrialFolder.output`: what Python, libraries in C and processes that the trial starts write to them,
up to the last words of a process that dies. Trials of a pack print together, and each of them gets
everything: the first one at once, the others at a later pause of the training.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeps.storage.folder import TrialFolder
from sweeps.storage.output import MOST_BYTES, append, shorten

KEEP_SECONDS = 1.0
"""Minimum time between two looks at the length of an output, on a file system that may be slow."""

_STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""


@contextmanager
def output_not_kept(folders: Sequence[TrialFolder]) -> Iterator[Callable[[], None]]:
    """Leave the standard streams as they are; see `output_kept`."""
    yield lambda: None


@contextmanager
def output_kept(folders: Sequence[TrialFolder], rank: int = 0) -> Iterator[Callable[[], None]]:
    """Write the standard streams of this process to the folders of trials in a `with` block.

    Args:
        folders: the folders of the trials of a pack.
        rank: number of this process among those that train the trial together.

    Yields:
        A function to call regularly. It limits the length of the files, and gives new output to
        all trials of the pack.
    """
    first, *others = [folder.output_of(rank) for folder in folders]
    company = f", in a pack of {len(folders)} trials" if others else ""
    when = time.strftime("%Y-%m-%d %H:%M:%S %z")
    title = f"--- {when}, {platform.node()}, process {os.getpid()}{company} ---\n".encode()
    length = append(first, title)
    shared = length
    begun = False  # the other files get the title with the first output

    due = time.monotonic() + KEEP_SECONDS

    def keep(*, at_once: bool = False) -> None:
        nonlocal shared, begun, due
        if time.monotonic() < due and not at_once:
            return
        due = time.monotonic() + KEEP_SECONDS
        _flush()
        if others and (size := first.stat().st_size) > shared:
            with first.open("rb") as file:
                file.seek(max(shared, size - MOST_BYTES))  # no more of it would be kept
                fresh = file.read(size - file.tell())
            for path in others:
                append(path, fresh if begun else title + fresh)
            begun = True
            shared = size
        shared = min(shared, shorten(first))

    with _redirected(first):
        try:
            yield keep
        finally:
            keep(at_once=True)
    if first.stat().st_size == length:  # nothing was printed
        with first.open("r+b") as file:
            file.truncate(length - len(title))
        if length == len(title):
            first.unlink()


@contextmanager
def _redirected(path: Path) -> Iterator[None]:
    """Let the standard streams append to a file within a `with` block."""
    _flush()
    before = [os.dup(stream) for stream in _STREAMS]
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    for stream in _STREAMS:
        os.dup2(file, stream)
    os.close(file)
    try:
        yield
    finally:
        _flush()
        for stream, old in zip(_STREAMS, before, strict=True):
            os.dup2(old, stream)
            os.close(old)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the code of the trial has closed it
            stream.flush()
