"""Screen: a page on the whole terminal that is drawn again and again until a key ends it."""

import os
import re
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from quantlab.errors import ConfigurationError, in_full

QUIT_KEYS = "qQ\x03\x1b"
"""q, Ctrl-C where the terminal sends it as a key, and Escape."""

_SEQUENCE = re.compile(r"\x1b[\[O][0-?]*[ -/]*[@-~]")
"""What a terminal sends for an arrow key or, on a screen of this kind, for the wheel of a mouse."""

KEY_SECONDS = 0.2
"""How long a key waits at most."""

DRAW_SECONDS = 1.0
"""How long the page stays as it is without news; the terminal may have changed its size."""

MOST_WARNINGS = 3
"""How many warnings the page shows."""


class Screen:
    """Draws a page on the alternate screen of a terminal, which is as before at the end.

    A thread looks at what there is to show, so that keys are answered while a file system is slow.
    An error of the file system is shown on the page, and the next look tries again.
    """

    def __init__(
        self,
        look: Callable[[], None],
        draw: Callable[[int, int], Sequence[str]],
        *,
        seconds: Callable[[], float],
        stream: TextIO,
    ) -> None:
        """Prepare a screen without drawing.

        Args:
            look: reads what there is to show; called again and again, in a thread.
            draw: returns the lines for a width and a height.
            seconds: returns the time between two looks.
            stream: the terminal.
        """
        self._look = look
        self._draw = draw
        self._seconds = seconds
        self._stream = stream
        self._console = Console(file=stream)
        self._ended = threading.Event()
        self._is_new = threading.Event()
        self._error: ConfigurationError | None = None
        self._trouble = ""
        self._warnings = StringIO()

    def run(self) -> None:
        """Draw until a key of `QUIT_KEYS` is pressed or Ctrl-C interrupts.

        Raises:
            ConfigurationError: a look has raised it.
        """
        looking = threading.Thread(target=self._keep_looking, daemon=True)
        live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        try:
            with redirect_stderr(self._warnings), _keys() as pressed, live:
                looking.start()
                while self._error is None:
                    self._is_new.clear()
                    live.update(self._page(), refresh=True)
                    deadline = time.monotonic() + DRAW_SECONDS
                    while time.monotonic() < deadline and not self._is_new.is_set():
                        keys = _SEQUENCE.sub("", pressed(KEY_SECONDS))
                        if any(key in QUIT_KEYS for key in keys):
                            return
        except KeyboardInterrupt:
            return
        finally:
            self._ended.set()
            sys.stderr.write(self._warnings.getvalue())
        assert self._error is not None
        raise self._error

    def _keep_looking(self) -> None:
        while not self._ended.is_set():
            try:
                self._look()
                self._trouble = ""
            except ConfigurationError as error:
                self._error = error
                return
            except OSError as error:
                self._trouble = f"the storage cannot be read now ({in_full(error)}); trying again"
            finally:
                self._is_new.set()
            self._ended.wait(self._seconds())

    def _page(self) -> Group:
        width, height = self._console.size = _size(self._stream)
        told = self._warnings.getvalue().splitlines()[-MOST_WARNINGS:]
        last = [*told, *filter(None, [self._trouble]), "q quits"]
        lines = list(self._draw(width, height - len(last)))[: height - len(last)]
        empty = [""] * (height - len(last) - len(lines))
        return Group(
            *(Text(line, no_wrap=True, overflow="ellipsis") for line in (*lines, *empty)),
            *(Text(line, no_wrap=True, overflow="ellipsis", style="dim") for line in last),
        )


def _size(stream: TextIO) -> ConsoleDimensions:
    """Return the columns and rows of a terminal, which may change at any time."""
    columns, rows = os.get_terminal_size(stream.fileno())
    return ConsoleDimensions(columns or 80, rows or 24)  # a terminal may not know its size


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Read single keys of standard input in a `with` block, without showing them.

    Yields:
        A function that waits for at most a number of seconds, and returns the keys that were
        pressed; none if standard input is no terminal.
    """
    if not sys.stdin.isatty():
        yield _wait
        return
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    try:
        tty.setcbreak(file)

        def pressed(seconds: float) -> str:
            ready, _, _ = select.select([file], [], [], seconds)
            return os.read(file, 1024).decode("utf-8", "replace") if ready else ""

        yield pressed
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""
