"""Errors that callers are expected to handle."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from quantlab.identity.code_origin import OURS, is_installed

_LONGEST_MESSAGE = 1000


class ConfigurationError(ValueError):
    """Something a user wrote is not allowed.

    The message is one line that names the field, its value and what is allowed. Values may be long,
    have several lines, or hold what no terminal can show; what becomes of them is `one_line`.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class CutShortError(ConfigurationError):
    """Something around the trials gave way, such as a database: the same command goes on later."""


class ElsewhereError(ConfigurationError):
    """The user's own code raised an error here, which it might not raise on another device."""


OF_DEVICES = (RuntimeError, AssertionError, ImportError)
"""What torch and libraries raise for a device that is not here, among other things."""


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or NaN: the configuration diverged."""

    def __init__(self, step: int, last_finite_loss: float) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; the last finite one was {last_finite_loss:g}"
        )
        self.step = step
        self.last_finite_loss = last_finite_loss


class LostProcessError(OSError):
    """A helper process is gone, for no fault of its own: another attempt may well succeed."""


class MemoryExhaustedError(RuntimeError):
    """Memory does not hold what was being done. The message says what that was."""


def one_line(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """A text as one line that any terminal can show, without its middle if it is very long."""
    lines = [line.strip() for line in text.splitlines()]
    text = " ".join(line for line in lines if line) if len(lines) > 1 else text
    if len(text) > longest:
        text = f"{text[: 2 * longest // 3]} [...] {text[-longest // 4 :]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def in_full(error: BaseException) -> str:
    """All that an error says, in one line; its class if it says nothing."""
    return one_line(str(error).strip() or type(error).__name__)


def brief(value: object) -> str:
    """A value as Python writes it, for a message: one line, and not a long one."""
    try:
        text = repr(value)
    except Exception as error:  # a class of the user's
        text = f"<{type(value).__name__}, whose repr fails: {error}>"
    return one_line(text, longest=200)


def described(error: BaseException) -> str:
    """What an error of the user's own code says, and which function and line of it are to blame.

    Such as ``KeyError: 'x' (mine.py, line 12, in space)``; the place is the innermost one that is
    neither Python's, nor of an installed package, nor of quantlab, and is left out if none is.
    """
    says = str(error).strip()
    text = type(error).__name__ + (f": {says}" if says else "")
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if _is_users(frame.filename)), None)
    where = "" if frame is None else f" ({frame.filename}, line {frame.lineno}, in {frame.name})"
    return one_line(text + where)


_REPOSITORY = Path(__file__).resolve().parents[1]


def _is_users(file: str) -> bool:
    path = Path(file).resolve()
    is_ours = any(path.is_relative_to(_REPOSITORY / package) for package in OURS)
    return not (file.startswith("<") or is_installed(file) or is_ours)


def first_line(error: BaseException) -> str:
    """What an error says, as far as it fits into another message; its class if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def naming_exhausted_memory(doing: str, *, advice: str = "") -> Iterator[None]:
    """Turn whatever torch and Python raise when memory runs out into one clear error.

    Args:
        doing: what the message says was being done, such as ``"training ResNet20 on cuda"``.
        advice: what would need less.

    Raises:
        MemoryExhaustedError: memory ran out within the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_exhausted_memory(error):
            raise
        message = f"out of memory while {doing} ({first_line(error)})"
        raise MemoryExhaustedError(f"{message}; {advice}" if advice else message) from error


_PROBE_BYTES = 2**28


def _is_exhausted_memory(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator and C++ have no error class of their own here.
    if "can't allocate memory" in str(error) or "bad_alloc" in str(error):
        return True
    if not str(error).startswith("could not "):
        return False
    try:  # oneDNN does not say why it could not; so see whether there is memory
        torch.empty(_PROBE_BYTES, dtype=torch.uint8)
    except RuntimeError:
        return True
    return False
