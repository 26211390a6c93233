"""Errors that callers are expected to handle."""

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quantlab.identity.code_origin import OURS, is_installed

_LONGEST_MESSAGE = 1000


class ConfigurationError(ValueError):
    """Invalid input from the user.

    The message is one line that names the field, its value and the allowed values. It is passed
    through `one_line`, because values may be long or contain line breaks or control characters.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class CutShortError(ConfigurationError):
    """A service that a sweep needs, such as a database, failed; repeat the command later."""


class ElsewhereError(ConfigurationError):
    """The user's code raised an error on this device that it might not raise on another one."""


OF_DEVICES = (RuntimeError, AssertionError, ImportError)
"""Errors that torch and other libraries raise when a device is missing, among other reasons."""


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or NaN, so the configuration diverged."""

    def __init__(self, step: int, last_finite_loss: float) -> None:
        """Create the error.

        Args:
            step: gradient step, counted from 0, whose loss was not finite.
            last_finite_loss: loss of the last step before it that was finite; NaN for none.
        """
        super().__init__(
            f"the loss is not finite at step {step}; the last finite loss was {last_finite_loss:g}"
        )
        self.step = step
        self.last_finite_loss = last_finite_loss


class LostProcessError(OSError):
    """A helper process was killed from outside. Another attempt may succeed."""


class MemoryExhaustedError(RuntimeError):
    """The device or the machine ran out of memory. The message names the operation."""


def one_line(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Return the text as one printable line. The middle of a very long text is left out.

    Args:
        text: any text.
        longest: number of characters above which the middle is left out.
    """
    lines = [line.strip() for line in text.splitlines()]
    text = " ".join(line for line in lines if line) if len(lines) > 1 else text
    if len(text) > longest:
        text = f"{text[: 2 * longest // 3]} [...] {text[-longest // 4 :]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def in_full(error: BaseException) -> str:
    """Return an error's whole message as one line, or the name of its class if it has none."""
    return one_line(str(error).strip() or type(error).__name__)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return text such as `` (did you mean 'digits'?)``, or empty text if no name is similar.

    Args:
        name: an unknown name.
        known: the known names.
    """
    alike = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" (did you mean {alike[0]!r}?)" if alike else ""


def brief(value: object) -> str:
    """Return the ``repr`` of a value for a message: one line of at most about 200 characters."""
    try:
        text = repr(value)
    except Exception as error:  # a class of the user's
        text = f"<{type(value).__name__} object whose __repr__ failed: {error}>"
    return one_line(text, longest=200)


def described(error: BaseException) -> str:
    """Describe an error that the user's code raised, with the file, line and function.

    An example is ``KeyError: 'x' (mine.py, line 12, in space)``. The place is the innermost frame
    of the traceback that belongs neither to Python, nor to an installed package, nor to this
    project. It is left out if there is no such frame.
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
    """Return the first line of an error's message, or the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def naming_exhausted_memory(doing: str, *, advice: str = "") -> Iterator[None]:
    """Convert the errors of torch and Python for exhausted memory into `MemoryExhaustedError`.

    Args:
        doing: the operation that the message names, such as ``"training ResNet20 on cuda"``.
        advice: what the user can do to need less memory.

    Raises:
        MemoryExhaustedError: if memory ran out within the block.
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
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator and C++ have no error class of their own here.
    if "can't allocate memory" in str(error) or "bad_alloc" in str(error):
        return True
    if not str(error).startswith("could not "):
        return False
    try:  # oneDNN states no reason, so check the memory
        torch.empty(_PROBE_BYTES, dtype=torch.uint8)
    except RuntimeError:
        return True
    return False
