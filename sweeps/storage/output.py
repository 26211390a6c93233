"""The output of a trial: a text file of bounded length, which keeps its beginning and its end."""

from pathlib import Path

MOST_BYTES = 256 * 1024
"""A longer file is shortened to half of it."""

_HEAD_BYTES = MOST_BYTES // 4
_TAIL_BYTES = MOST_BYTES // 4
_GAP = b"--- a part is missing here, because the output is long ---\n"


def append(path: Path, text: bytes) -> int:
    """Append to an output, which is created if necessary.

    Returns:
        The length of the file, in bytes.
    """
    with path.open("ab") as file:
        file.write(text)
    return shorten(path)


def shorten(path: Path) -> int:
    """Remove the middle of an output that has become too long.

    Other processes may append to the file meanwhile, so it is not replaced.

    Returns:
        The length of the file, in bytes.
    """
    length = path.stat().st_size
    if length <= MOST_BYTES:
        return length
    with path.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(length - _TAIL_BYTES)
        tail = file.read()
        head = head[: head.rfind(b"\n") + 1] or head + b"\n"
        head = head.partition(_GAP)[0]
        short = head + _GAP + tail[tail.find(b"\n") + 1 :]
        file.seek(0)
        file.write(short)
        file.truncate()
    return len(short)


def read_output(path: Path) -> str:
    """Return an output as text for a terminal; empty if there is none."""
    try:
        return for_terminal(path.read_bytes().decode("utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def for_terminal(text: str) -> str:
    """Return what a text would leave on a terminal, without colours.

    Of a line that was overwritten, such as a progress bar, this is the last state. Other control
    sequences are left out.
    """
    from rich.text import Text  # workers, which only write, do not need them

    from analysis.text import plain

    lines = (Text.from_ansi(line.rstrip("\r")).plain for line in text.split("\n"))
    return "\n".join(plain(line).rstrip() for line in lines)
