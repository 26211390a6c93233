"""What the terminal shows while a sweep runs: a live display, or a plain line now and then."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState

SHOWN_RUNNING = 8
"""The live display names so many of the running trials."""


class Progress:
    """Counts trials as they start and end, and shows how far the sweep is.

    To be entered as a context. On a terminal, a display is kept up to date; elsewhere, and in a
    file, a line is written when a trial ends, but not more often than every few seconds.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        storage: Storage,
        *,
        to_run: int,
        stream: TextIO,
        quiet: bool = False,
        every_seconds: float = 10.0,
    ) -> None:
        """Look up what is finished already.

        Args:
            cells: trials that are counted, as far as they are known.
            storage: where they lie.
            to_run: trials that are not finished.
            stream: where to show it.
            quiet: show nothing but warnings.
            every_seconds: the least time between two plain lines.
        """
        self._storage = storage
        self._total = max(len(cells), to_run)
        self._to_run = to_run
        self._stream = stream
        self._every = every_seconds
        self._quiet = quiet
        self._states = dict.fromkeys(TrialState, 0)
        self._running: dict[str, str] = {}
        self._waiting = 0
        self._interrupted = 0
        self._trained = 0
        self._started: float | None = None
        self._printed = time.monotonic()
        self._best: tuple[float, str] | None = None
        for cell in cells:
            self._consider(cell)
        self._live: Live | None = None
        if stream.isatty() and not quiet:
            self._live = Live(
                get_renderable=self._display,
                console=Console(file=stream),
                refresh_per_second=2,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            print(self._line(), file=self._stream, flush=True)

    def started(self, cell: Cell, *, waiting: int) -> None:
        """A trial runs; `waiting` others wait for initial weights."""
        if self._started is None:  # rates leave Ray's start out
            self._started = time.monotonic()
        self._running[cell.fingerprint] = cell.name
        self._waiting = waiting

    def interrupted(self, cell: Cell) -> None:
        """A trial's process died; it will be taken up again."""
        self._running.pop(cell.fingerprint, None)
        self._interrupted += 1

    def say(self, line: str) -> None:
        """Show a line, unless nothing is to be shown."""
        if not self._quiet:
            self._print(line)

    def ended(self, cell: Cell, state: TrialState, *, waiting: int = 0) -> None:
        """A trial has ended in whatever way, perhaps without having begun."""
        self._trained += self._running.pop(cell.fingerprint, None) is not None
        self._waiting = waiting
        folder = self._storage.trial(cell.fingerprint)
        self._states[state] += 1
        if warning := folder.read(folder.result).get("warning"):
            self._print(f"{cell.name}: warning: {warning}")
        self._consider(cell)
        now = time.monotonic()
        if self._live or self._quiet:
            return
        if now - self._printed >= self._every or self._ended == self._to_run:
            self._printed = now
            self._print(self._line())

    def _print(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)

    def _consider(self, cell: Cell) -> None:
        """Whether it is the best one."""
        folder = self._storage.trial(cell.fingerprint)
        score = folder.read(folder.result).get("validation_accuracy")
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, cell.name)

    @property
    def _ended(self) -> int:
        return sum(self._states.values())

    @property
    def _finished(self) -> int:
        now = sum(count for state, count in self._states.items() if state.is_finished)
        return self._total - self._to_run + now

    def _display(self) -> Group:
        names = list(self._running.values())
        more = len(names) - SHOWN_RUNNING
        lines = [f"  {name}" for name in names[:SHOWN_RUNNING]]
        if more > 0:
            lines.append(f"  and {more} more")
        return Group(
            ProgressBar(total=self._total, completed=self._finished, width=60),
            Text(self._line()),
            Text("\n".join(lines), style="dim"),
        )

    def _line(self) -> str:
        parts = [f"{self._finished}/{self._total} finished", f"{len(self._running)} running"]
        if self._waiting:
            parts.append(f"{self._waiting} waiting")
        for state, word in ((TrialState.DIVERGED, "diverged"), (TrialState.FAILED, "failed")):
            if self._states[state]:
                parts.append(f"{self._states[state]} {word}")
        if self._interrupted:
            parts.append(f"{self._interrupted} taken up again")
        if self._trained and self._started is not None:
            rate = self._trained / (time.monotonic() - self._started)
            parts.append(f"{3600 * rate:.0f} trials/h")
            minutes, seconds = divmod(int((self._to_run - self._ended) / rate), 60)
            hours, minutes = divmod(minutes, 60)
            left = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
            parts.append(f"{left} left")
        if self._best:
            parts.append(f"best validation {100 * self._best[0]:.2f} % ({self._best[1]})")
        return " · ".join(parts)
