"""Signals that ask a command to end: those of people, and of batch systems."""

import signal
import threading
from collections.abc import Callable, Iterator
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
"""Batch systems send one of them before a job's time is over, whichever its owner asked for."""

FOR_DRIVER = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Sent to all processes of a job, they are the driver's to see to; the others take no notice."""


@contextmanager
def handled(handle: Callable[[], None]) -> Iterator[None]:
    """Call something for each such signal; those that are ignored, as by `nohup`, stay so.

    Args:
        handle: called in the main thread.
    """
    before = _handle(handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt() -> None:
    """As Ctrl-C does.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def interrupt_on_signals() -> None:
    """From now on, each of them is as Ctrl-C."""
    _handle(interrupt)


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Processes that are started meanwhile do not notice the signals that are the driver's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_DRIVER)


def _handle(handle: Callable[[], None]) -> dict[signal.Signals, _Handler]:
    def handler(number: int, frame: FrameType | None) -> None:
        handle()

    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[signal.Signals, _Handler] = {}
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    return before
