"""Progress: the display of the terminal while a sweep runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from sweeps.spec import Cell
from sweeps.storage.folder import Storage, TrialState
from sweeps.terminal.duration import duration
from sweeps.watching.best_values import BestValues

MAX_LINES = 8
"""How many running trials, and how many methods, the live display names."""

MAX_NAMES = 3
"""How many running trials a plain line names."""

PATIENCE = 6
"""How many times longer it takes until an epoch, rather than the end of a trial, has lines."""


_ENDED = (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.FAILED, TrialState.STOPPED)


@dataclass(frozen=True)
class Counts:
    """The progress of a sweep or a study."""

    done: int
    """Number of trials or configurations that have a result."""
    total: int
    """Number of all trials or configurations."""
    left: int
    """Number of those still to be tried; failed ones are neither done nor left."""
    unit: str
    """What is counted, preceded by a space, such as " configurations"; empty for trials."""


@dataclass
class _Running:
    """A trial that is trained now."""

    name: str
    epochs: int
    """Number of its epochs."""
    first: int = 0
    """Number of epochs that were finished when it continued."""
    finished: int = 0
    """Number of finished epochs."""

    @property
    def worked(self) -> float:
        """Part of the trial that was trained since it has started or continued, from 0 to 1."""
        return (self.finished - self.first) / self.epochs

    def __str__(self) -> str:
        """Return the name with the epoch in progress."""
        return f"{self.name}, epoch {min(self.finished + 1, self.epochs)} of {self.epochs}"


class Progress:
    """Count trials as they start and end, and display the progress of the sweep.

    It is a context manager. A terminal shows a live display. Any other stream, such as a file, gets
    lines when a trial ends: the numbers of trials, those that run now, and the best values that
    have changed. There are none within `every_seconds` of the last ones. While no trial ends, there
    are such lines when an epoch has ended, less often.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        storage: Storage,
        *,
        to_run: int,
        outside: int = 0,
        stream: TextIO,
        quiet: bool = False,
        every_seconds: float = 10.0,
        counts: Callable[[], Counts] | None = None,
    ) -> None:
        """Find the best of the trials that have finished already.

        Args:
            cells: the trials to count.
            storage: the storage of the trials.
            to_run: the number of unfinished trials to train.
            outside: the number of those that are outside the budget, and are not counted.
            stream: the stream to write to.
            quiet: whether to print warnings only.
            every_seconds: the minimum time between two plain lines.
            counts: returns the progress, for studies, whose number of trials is not known in
                advance; None to count trials.
        """
        self._storage = storage
        self._total = len(cells) - outside
        self._outside = outside
        self._counts = counts or self._count
        self._counts_trials = counts is None
        self._to_run = to_run
        self._stream = stream
        self._every = every_seconds
        self._quiet = quiet
        self._states = dict.fromkeys(TrialState, 0)
        self._before: Counter[TrialState] = Counter()
        self._running: dict[str, _Running] = {}
        self._first: dict[str, int] = {}
        """Fingerprint of a trial that is retried -> the epoch after which it had begun here."""
        self._waiting = 0
        self._waited_for: set[str] = set()
        self._interrupted = 0
        self._trained = 0
        self._worked = 0.0
        """How many trials have been trained here, with parts of those that have stopped."""
        self._started: float | None = None
        self._pause_began: float | None = None
        self._left_before = 0
        self._printed = time.monotonic()
        self._best = BestValues(cells)
        for cell in cells:
            result = storage.trial(cell.fingerprint).result.read()
            self._best.consider(cell, result)
            if result is not None:
                self._before[result.state] += 1
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
            print("\n".join([self._line(), *self._best_lines()]), file=self._stream, flush=True)

    def states(self) -> dict[TrialState, int]:
        """Return the number of trials in each state that a trial of this command can have.

        The trials of a study that wait are not known.
        """
        ended = {
            state: count + self._before[state]
            for state, count in self._states.items()
            if state in _ENDED
        }
        waiting = self._to_run - sum(self._states.values()) - len(self._running)
        known = {TrialState.WAITING: max(0, waiting)} if self._counts_trials else {}
        return {**known, TrialState.RUNNING: len(self._running), **ended}

    @property
    def retried(self) -> int:
        """How often a trial was retried."""
        return self._interrupted

    def started(self, cell: Cell, *, waiting: int) -> None:
        """Count a trial that has started, while `waiting` others wait for initial weights."""
        if self._started is None:  # the rate does not include the start of Ray
            self._started = time.monotonic()
            self._left_before = self._counts().left
        recipe = cell.recipe
        epochs = recipe.epochs + recipe.batchnorm_epochs
        self._running[cell.fingerprint] = _Running(cell.name, epochs)
        self._waiting = waiting

    def continued(self, after: Mapping[str, int]) -> None:
        """Say that trials continue from their checkpoints.

        Args:
            after: fingerprint -> number of epochs that the trial had finished.
        """
        alike: dict[tuple[int, int], list[str]] = {}
        for fingerprint, epoch in after.items():
            if (own := self._running.get(fingerprint)) is not None:
                own.finished = epoch
                own.first = min(epoch, self._first.pop(fingerprint, epoch))
                alike.setdefault((epoch, own.epochs), []).append(own.name)
        for (epoch, epochs), names in alike.items():
            others = "" if len(names) == 1 else f" and {len(names) - 1} more"
            verb = "continues" if len(names) == 1 else "continue"
            self.log(f"{names[0]}{others}: {verb} after epoch {epoch} of {epochs}")

    def advanced(self, finished: Mapping[str, int]) -> None:
        """Note how many epochs running trials have finished.

        Args:
            finished: fingerprint -> number of epochs.
        """
        for fingerprint, epoch in finished.items():
            if (own := self._running.get(fingerprint)) is not None:
                own.finished = epoch
        if finished:
            self._print_if_due(PATIENCE * self._every)

    def interrupted(self, cell: Cell) -> None:
        """Count a trial whose process died and which will be retried."""
        if (own := self._running.pop(cell.fingerprint, None)) is not None:
            self._first[cell.fingerprint] = own.first
        self._interrupted += 1

    def left(self, cell: Cell) -> None:
        """Count a trial no longer as running: another command trains it, or it stops."""
        if (own := self._running.pop(cell.fingerprint, None)) is not None:
            self._worked += own.worked

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Count no time within a `with` block, in which nothing can be trained."""
        self._pause_began = time.monotonic()
        try:
            yield
        finally:
            if self._started is not None:
                self._started += time.monotonic() - self._pause_began
            self._pause_began = None

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
        own = self._running.pop(cell.fingerprint, None)
        self._first.pop(cell.fingerprint, None)
        if own is not None and state is not TrialState.FAILED:
            self._trained += 1
            self._worked += 1 - own.first / own.epochs
        self._waiting = waiting
        folder = self._storage.trial(cell.fingerprint)
        self._states[state] += 1
        result = folder.result.read()
        if result is not None and result.warning:
            self._print(f"{cell.name}: warning: {result.warning}")
        self._best.consider(cell, result)
        self._print_if_due(0 if self._counts().left == 0 else self._every)

    def _print_if_due(self, seconds: float) -> None:
        """Print plain lines if the last ones are older than a number of seconds."""
        now = time.monotonic()
        if self._live is None and not self._quiet and now - self._printed >= seconds:
            self._printed = now
            self._print("\n".join(self._plain_lines()))

    def _plain_lines(self) -> Iterator[str]:
        """Yield the numbers of trials, the trials that run now, and new best values."""
        yield self._line()
        if running := list(map(str, self._running.values())):
            more = len(running) - MAX_NAMES
            others = [f"{more} more"] if more > 0 else []
            yield f"  running: {'; '.join(running[:MAX_NAMES] + others)}"
        if news := self._best.news():
            yield f"  best validation: {news}"

    def _print(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)

    def _count(self) -> Counts:
        """Return the progress, counted in trials."""
        now = sum(count for state, count in self._states.items() if state.is_finished)
        done = self._total - self._to_run + now
        return Counts(done, self._total, self._to_run - sum(self._states.values()), "")

    def _display(self) -> Group:
        counts = self._counts()
        running = _first([f"  {one}" for one in self._running.values()], MAX_LINES)
        return Group(
            # A bar does not end its line, but padding does.
            Padding(ProgressBar(total=counts.total, completed=counts.done, width=60)),
            Text(self._line()),
            *(Text(line, style="dim") for line in running),
            *map(Text, _first(self._best_lines(), MAX_LINES)),
        )

    def _best_lines(self) -> list[str]:
        """Return the best values, a line for each method; empty without any."""
        lines = [f"  {line}" for line in self._best.lines()]
        return ["best validation:", *lines] if lines else []

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
        if self._outside:
            parts.append(f"{self._outside} outside the budget")
        if self._started is not None and self._trained:
            now = time.monotonic() if self._pause_began is None else self._pause_began
            elapsed = now - self._started
            parts.append(f"{3600 * self._trained / elapsed:.0f} trials/h")
            worked, left = self._work(counts)
            if worked > 0 and counts.left:
                parts.append(f"{duration(elapsed / worked * left)} left")
        return " · ".join(parts)

    def _work(self, counts: Counts) -> tuple[float, float]:
        """Return how many trials, or configurations, were trained here, and how many are left.

        Of running trials, the epochs count. Studies, which do not count trials, have no such parts.
        """
        if not self._counts_trials:
            return self._left_before - counts.left, counts.left
        running = self._running.values()
        worked = self._worked + sum(own.worked for own in running)
        return worked, counts.left - sum(own.finished / own.epochs for own in running)


def _first(lines: Sequence[str], most: int) -> list[str]:
    """Return the first lines, and one that counts the others if there are more."""
    more = len(lines) - most
    return [*lines[:most], *([f"  and {more} more"] if more > 0 else [])]
