"""Damaged files are told of, once."""

import sys
from pathlib import Path

_told: set[str] = set()


def tell(path: Path, what: str, then: str) -> None:
    """Write a line about a file to the standard error, once in a process.

    Args:
        path: the file.
        what: is wrong with it.
        then: what is done about it.
    """
    line = f"sweeps: {path}: {what}; {then}"
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr, flush=True)


def forget() -> None:
    """Tell of everything again: another command begins."""
    _told.clear()
