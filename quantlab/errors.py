"""Errors that callers are expected to handle."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ConfigurationError(ValueError):
    """Something a user wrote is not allowed.

    The message is one line that names the field, its value and what is allowed.
    """


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
