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

FOR_DRIVER = tuple(number for number in ENDING if number is not signal.SIGINT)
"""Sent to all processes of a job, they are the driver's to see to; the others take no notice. Ray
blocks SIGINT in them by itself."""


@contextmanager
def handled(hear: Callable[[], None]) -> Iterator[None]:
    """Call something for each such signal; those that are ignored, as by `nohup`, stay so.

    Args:
        hear: called in the main thread.
    """
    before = handle(hear)
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
    handle(interrupt)


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Processes that are started meanwhile do not notice the signals that are the driver's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_DRIVER)


def handle(hear: Callable[[], None]) -> dict[signal.Signals, _Handler]:
    """Call something for each such signal from now on; what was called before."""

    def handler(number: int, frame: FrameType | None) -> None:
        hear()

    before: dict[signal.Signals, _Handler] = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    return before
