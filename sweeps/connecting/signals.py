"""Handle the signals by which people and batch systems stop a command."""

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

ENDING = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""Signals that stop a command. Batch systems can be configured to send any of them before the time
limit of a job."""

FOR_DRIVER = tuple(number for number in ENDING if number is not signal.SIGINT)
"""Signals that a batch system sends to all processes of a job, but that only the driver may handle.
Ray blocks SIGINT in its processes."""


_was_interrupted = threading.Event()
"""Set once `interrupt` has been called since `interrupting` began."""


@contextmanager
def interrupting(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Let signals raise KeyboardInterrupt within a `with` block, and errors that follow one, too.

    Libraries may swallow a KeyboardInterrupt and fail later. One that comes while torch imports
    NumPy, for example, leaves a NumPy that cannot be imported again.

    Args:
        numbers: the signals.

    Raises:
        KeyboardInterrupt: a signal has come; an error that followed it is the cause.
    """
    _was_interrupted.clear()
    with handled(interrupt, numbers):
        try:
            yield
        except Exception as error:
            if _was_interrupted.is_set():
                raise KeyboardInterrupt from error
            raise


@contextmanager
def handled(
    callback: Callable[[], None], numbers: Collection[signal.Signals] = ENDING
) -> Iterator[None]:
    """Handle signals within a `with` block.

    Args:
        callback: called for each signal, in the main thread.
        numbers: the signals.
    """
    before = handle(callback, numbers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt() -> None:
    """Raise what Ctrl-C raises.

    Raises:
        KeyboardInterrupt: always.
    """
    _was_interrupted.set()
    raise KeyboardInterrupt


def interrupt_on_signals() -> None:
    """Let each signal in `ENDING` raise KeyboardInterrupt from now on."""
    handle(interrupt)


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Block the signals in `FOR_DRIVER` in processes that are started within a `with` block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_DRIVER)


@contextmanager
def ignored_as_before() -> Iterator[None]:
    """Ignore the signals that are ignored now also after a `with` block.

    A batch script may start a command that ignores a signal, as `nohup` does, because the batch
    system sends it to all processes of the job, and the script tells the command itself.
    """
    ignored = [number for number in ENDING if signal.getsignal(number) is signal.SIG_IGN]
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def handle(
    callback: Callable[[], None], numbers: Collection[signal.Signals] = ENDING
) -> dict[signal.Signals, _Handler]:
    """Handle signals from now on, except those that are ignored, as by `nohup`.

    Args:
        callback: called for each signal, in the main thread.
        numbers: the signals.

    Returns:
        The handlers that were replaced.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        callback()

    before: dict[signal.Signals, _Handler] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    return before
