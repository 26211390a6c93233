"""What the terminal shows while a sweep runs: a plain line now and then."""

import time
from collections import Counter
from typing import TextIO

from sweeps.spec import Cell, SweepSpec
from sweeps.storage import Storage, TrialState


class Progress:
    """Counts trials as they end and prints how far the sweep is."""

    def __init__(
        self,
        sweep: SweepSpec,
        storage: Storage,
        *,
        to_run: int,
        stream: TextIO,
        every_seconds: float = 10.0,
    ) -> None:
        self._storage = storage
        self._total = len(sweep.cells)
        self._to_run = to_run
        self._stream = stream
        self._every = every_seconds
        self._states: Counter[TrialState] = Counter()
        self._started = self._printed = time.monotonic()
        self._best: tuple[float, str] | None = None

    def ended(self, cell: Cell) -> None:
        """A trial has ended in whatever way; print a line if it is time for one."""
        folder = self._storage.trial(cell.fingerprint)
        state = folder.state()
        self._states[state] += 1
        if warning := folder.read(folder.result).get("warning"):
            print(f"{cell.name}: warning: {warning}", file=self._stream, flush=True)
        if state is TrialState.COMPLETE:
            score = folder.read(folder.result)["validation_accuracy"]
            if score is not None and (self._best is None or score > self._best[0]):
                self._best = (score, cell.name)
        now = time.monotonic()
        if now - self._printed >= self._every or self._ended == self._to_run:
            self._printed = now
            print(self._line(now - self._started), file=self._stream, flush=True)

    @property
    def _ended(self) -> int:
        return sum(self._states.values())

    def _line(self, elapsed: float) -> str:
        finished = (
            self._total
            - self._to_run
            + sum(count for state, count in self._states.items() if state.is_finished)
        )
        parts = [f"{finished}/{self._total} finished"]
        for state, word in ((TrialState.DIVERGED, "diverged"), (TrialState.FAILED, "failed")):
            if self._states[state]:
                parts.append(f"{self._states[state]} {word}")
        rate = self._ended / elapsed
        parts.append(f"{60 * rate:.1f} trials/min")
        left = (self._to_run - self._ended) / rate
        parts.append(f"{int(left // 60)}:{int(left % 60):02d} left")
        if self._best:
            parts.append(f"best validation {100 * self._best[0]:.2f} % ({self._best[1]})")
        return " · ".join(parts)
