"""What the terminal shows while a sweep runs: a live display, or a plain line now and then."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from sweeps.running.queue import Tally
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState

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
        tally: Callable[[], Tally] | None = None,
    ) -> None:
        """Look up what is finished already.

        Args:
            cells: trials that are counted.
            storage: where they lie.
            to_run: trials that are not finished.
            stream: where to show it.
            quiet: show nothing but warnings.
            every_seconds: the least time between two plain lines.
            tally: how far it is, where the number of trials is not known before; None to count
                trials.
        """
        self._storage = storage
        self._total = len(cells)
        self._tally = tally or self._count
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
        self._left_before = 0
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
            self._left_before = self._tally().left
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
        if (result := folder.result.read()) and result.warning:
            self._print(f"{cell.name}: warning: {result.warning}")
        self._consider(cell)
        now = time.monotonic()
        if self._live or self._quiet:
            return
        if now - self._printed >= self._every or self._tally().left == 0:
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
        result = folder.result.read()
        score = None if result is None else result.validation_accuracy
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, cell.name)

    def _count(self) -> Tally:
        """Of trials."""
        now = sum(count for state, count in self._states.items() if state.is_finished)
        done = self._total - self._to_run + now
        return Tally(done, self._total, self._to_run - sum(self._states.values()), "")

    def _display(self) -> Group:
        names, tally = list(self._running.values()), self._tally()
        more = len(names) - SHOWN_RUNNING
        lines = [f"  {name}" for name in names[:SHOWN_RUNNING]]
        if more > 0:
            lines.append(f"  and {more} more")
        return Group(
            ProgressBar(total=tally.total, completed=tally.done, width=60),
            Text(self._line()),
            Text("\n".join(lines), style="dim"),
        )

    def _line(self) -> str:
        tally = self._tally()
        parts = [
            f"{tally.done}/{tally.total}{tally.what} finished",
            f"{len(self._running)} running",
        ]
        if self._waiting:
            parts.append(f"{self._waiting} waiting")
        for state, word in ((TrialState.DIVERGED, "diverged"), (TrialState.FAILED, "failed")):
            if self._states[state]:
                parts.append(f"{self._states[state]} {word}")
        if self._interrupted:
            parts.append(f"{self._interrupted} taken up again")
        if self._trained and self._started is not None:
            elapsed = time.monotonic() - self._started
            parts.append(f"{3600 * self._trained / elapsed:.0f} trials/h")
            if tried := self._left_before - tally.left:
                minutes, seconds = divmod(int(elapsed / tried * tally.left), 60)
                hours, minutes = divmod(minutes, 60)
                clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
                parts.append(f"{clock}:{seconds:02d} left")
        if self._best:
            parts.append(f"best validation {100 * self._best[0]:.2f} % ({self._best[1]})")
        return " · ".join(parts)
