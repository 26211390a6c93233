"""Warnings about damaged files, each of which is printed once."""

import sys
from pathlib import Path

_printed: set[str] = set()


def warn_of_damage(path: Path | str, damage: str, consequence: str) -> None:
    """Print a warning about a file to standard error, once in a process.

    Args:
        path: the file, or the URL of an object.
        damage: what is wrong with it.
        consequence: how the program deals with it.
    """
    line = f"sweeps: warning: {path}: {damage}; {consequence}"
    if line not in _printed:
        _printed.add(line)
        print(line, file=sys.stderr, flush=True)


def num_warnings() -> int:
    """Return how many warnings were printed since the command started."""
    return len(_printed)


def forget_warnings() -> None:
    """Print all warnings again, when another command starts in the same process."""
    _printed.clear()
