"""Errors that callers are expected to handle."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ConfigurationError(ValueError):
    """Something a user wrote is not allowed.

    The message is one line that names the field, its value and what is allowed.
    """


class MemoryExhaustedError(RuntimeError):
    """The device's memory does not hold the trial. The message says what was being done."""


@contextmanager
def naming_exhausted_memory(doing: str) -> Iterator[None]:
    """Turn whatever torch and Python raise when memory runs out into one clear error.

    Args:
        doing: what the message says was being done, such as ``"training ResNet20 on cuda"``.

    Raises:
        MemoryExhaustedError: memory ran out within the block.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MemoryExhaustedError(_memory_message(doing, error)) from error
    except RuntimeError as error:
        # The CPU's allocator has no error class of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise MemoryExhaustedError(_memory_message(doing, error)) from error


def _memory_message(doing: str, error: BaseException) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"out of memory while {doing} ({reason}); a smaller batch_size needs less"
