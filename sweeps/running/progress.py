"""Progress: the display of the terminal while a sweep runs."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from quantlab.tasks import Metric
from sweeps.running.queue import Counts
from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState

MAX_NAMES = 8
"""How many running trials the live display names."""


class Progress:
    """Count trials as they start and end, and display the progress of the sweep.

    It is a context manager. A terminal shows a live display. Any other stream, such as a file, gets
    a line when a trial ends, but at most one line in `every_seconds`.
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
        counts: Callable[[], Counts] | None = None,
    ) -> None:
        """Find the best of the trials that have finished already.

        Args:
            cells: the trials to count.
            storage: the storage of the trials.
            to_run: the number of unfinished trials.
            stream: the stream to write to.
            quiet: whether to print warnings only.
            every_seconds: the minimum time between two plain lines.
            counts: returns the progress, for studies, whose number of trials is not known in
                advance; None to count trials.
        """
        self._storage = storage
        self._total = len(cells)
        self._counts = counts or self._count
        self._to_run = to_run
        self._stream = stream
        self._every = every_seconds
        self._quiet = quiet
        self._states = dict.fromkeys(TrialState, 0)
        self._running: dict[str, str] = {}
        self._waiting = 0
        self._waited_for: set[str] = set()
        self._interrupted = 0
        self._trained = 0
        self._started: float | None = None
        self._left_before = 0
        self._printed = time.monotonic()
        self._best: tuple[Metric, float, str] | None = None
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
        """Count a trial that has started, while `waiting` others wait for initial weights."""
        if self._started is None:  # the rate does not include the start of Ray
            self._started = time.monotonic()
            self._left_before = self._counts().left
        self._running[cell.fingerprint] = cell.name
        self._waiting = waiting

    def interrupted(self, cell: Cell) -> None:
        """Count a trial whose process died and which will be retried."""
        self._running.pop(cell.fingerprint, None)
        self._interrupted += 1

    def left(self, cell: Cell) -> None:
        """Count a trial no longer as running, as another command trains it."""
        self._running.pop(cell.fingerprint, None)

    def waits_for(self, cells: Sequence[Cell]) -> None:
        """Say, once, which other commands train the trials that this one waits for."""
        running = [self._storage.trial(cell.fingerprint).trained_by() for cell in cells]
        names = {str(by) for by in running if by is not None}
        if names - self._waited_for:
            self._waited_for |= names
            trials = "a trial" if len(cells) == 1 else f"{len(cells)} trials"
            self.log(f"waiting for {trials} of {' and '.join(sorted(names))}")

    def log(self, line: str) -> None:
        """Print a line, unless the display is quiet."""
        if not self._quiet:
            self._print(line)

    def ended(self, cell: Cell, state: TrialState, *, waiting: int = 0) -> None:
        """Count a trial that has ended, perhaps without having started."""
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
        if now - self._printed >= self._every or self._counts().left == 0:
            self._printed = now
            self._print(self._line())

    def _print(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)

    def _consider(self, cell: Cell) -> None:
        """Keep the trial as the best one if its main metric on validation images is.

        Trials whose main metric is another one than that of the first trial are left out.
        """
        result = self._storage.trial(cell.fingerprint).result.read()
        metric = cell.recipe.task.metrics[0]
        value = None if result is None else result.validation.get(metric.name)
        if value is None or (self._best is not None and self._best[0] != metric):
            return
        sign = 1 if metric.higher_is_better else -1
        if self._best is None or sign * value > sign * self._best[1]:
            self._best = metric, value, cell.name

    def _count(self) -> Counts:
        """Return the progress, counted in trials."""
        now = sum(count for state, count in self._states.items() if state.is_finished)
        done = self._total - self._to_run + now
        return Counts(done, self._total, self._to_run - sum(self._states.values()), "")

    def _display(self) -> Group:
        names, counts = list(self._running.values()), self._counts()
        more = len(names) - MAX_NAMES
        lines = [f"  {name}" for name in names[:MAX_NAMES]]
        if more > 0:
            lines.append(f"  and {more} more")
        return Group(
            # A bar does not end its line, but padding does.
            Padding(ProgressBar(total=counts.total, completed=counts.done, width=60)),
            Text(self._line()),
            Text("\n".join(lines), style="dim"),
        )

    def _line(self) -> str:
        counts = self._counts()
        parts = [
            f"{counts.done}/{counts.total}{counts.unit} finished",
            f"{len(self._running)} running",
        ]
        if self._waiting:
            parts.append(f"{self._waiting} waiting")
        for state, word in ((TrialState.DIVERGED, "diverged"), (TrialState.FAILED, "failed")):
            if self._states[state]:
                parts.append(f"{self._states[state]} {word}")
        if self._interrupted:
            parts.append(f"{self._interrupted} retried")
        if self._trained and self._started is not None:
            elapsed = time.monotonic() - self._started
            parts.append(f"{3600 * self._trained / elapsed:.0f} trials/h")
            if tried := self._left_before - counts.left:
                minutes, seconds = divmod(int(elapsed / tried * counts.left), 60)
                hours, minutes = divmod(minutes, 60)
                clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
                parts.append(f"{clock}:{seconds:02d} left")
        if self._best:
            metric, value, name = self._best
            parts.append(f"best validation {metric.shown(value)} ({name})")
        return " · ".join(parts)
