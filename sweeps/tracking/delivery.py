"""Delivery to the tracking server and to an archive, each in a thread of the driver.

A slow server does not delay training, and nothing is lost while the server cannot be reached.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from quantlab import ConfigurationError
from sweeps.printing.number_of import number_of
from sweeps.spec import Cell
from sweeps.tracking.access.reason import reason
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.uri import VARIABLE

GIVE_UP_AFTER = 3
"""At the end of a sweep, delivery stops after so many failures in a row."""
LONGEST_PAUSE = 16
"""Maximum pause after failures in a row, as a multiple of the first one."""


class Receiver(Protocol):
    """What trials are delivered to."""

    def outdated(self, cells: Sequence[Cell], /) -> Sequence[Cell]:
        """Return the trials of which it does not have everything."""

    def deliver(self, cell: Cell, /) -> object:
        """Give it what is in the folder of a trial; repeating that does no harm."""


class Announced(Protocol):
    """Something that is told of each change of a trial."""

    def announce(self, cell: Cell, /) -> object:
        """Note that there is something new in the folder of a trial."""


class Delivery:
    """A thread that delivers trials to a receiver, each as often as it is announced.

    A delivery that fails is repeated, after a pause that doubles with each further failure. If the
    server cannot be reached until the end of the sweep, the records stay in the trial folders, and
    the next command delivers them.
    """

    def __init__(
        self,
        receiver: Receiver,
        cells: Sequence[Cell] = (),
        *,
        prepare: Callable[[Sequence[Cell]], object] = lambda cells: None,
        retry_seconds: float = 10.0,
    ) -> None:
        """Start the thread.

        Args:
            receiver: takes one trial at a time.
            cells: trials that are compared with the server first, and delivered if they differ.
            prepare: called with `cells`, if there are any, before they are compared; otherwise with
                the first trial that was delivered. If it fails, it is called again later.
            retry_seconds: pause after a failure.
        """
        self._receiver = receiver
        self._to_compare = cells
        self._prepare = prepare
        self.is_prepared = False
        """Whether `prepare` was called and has not failed."""
        self._retry_seconds = retry_seconds
        self._pending: dict[str, Cell] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._stopping_at_once = False
        self.last_error = ""
        """Reason of the latest failure; empty if there was none."""
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def announce(self, cell: Cell) -> None:
        """Deliver a trial, as there is something new in its folder."""
        with self._changed:
            self._pending[cell.fingerprint] = cell
            self._changed.notify()

    def finish(self, *, at_once: bool = False) -> None:
        """Deliver what is pending, unless the server cannot be reached, and end the thread.

        Args:
            at_once: whether to deliver nothing more than what is being delivered now.
        """
        with self._changed:
            self._stopping = True
            self._stopping_at_once = at_once
            self._changed.notify()
        self._thread.join()

    def _compare(self) -> None:
        """Announce the trials whose runs are out of date; all of them, if the server fails."""
        outdated = self._to_compare
        try:
            if outdated:
                self._prepare_with(outdated)
                outdated = self._receiver.outdated(outdated)
        except Exception as error:  # no failure of the server may stop training
            self.last_error = reason(error)
        for cell in outdated:
            self.announce(cell)

    def _prepare_with(self, cells: Sequence[Cell]) -> None:
        if not self.is_prepared:
            self._prepare(cells)
            self.is_prepared = True

    def _work(self) -> None:
        self._compare()
        failures_in_a_row, pause = 0, self._retry_seconds
        failed_at_the_end: set[str] = set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._stopping)
                waiting = [key for key in self._pending if key not in failed_at_the_end]
                gives_up = self._stopping and failures_in_a_row >= GIVE_UP_AFTER
                if not waiting or gives_up or self._stopping_at_once:
                    return
                cell = self._pending.pop(waiting[0])
            try:
                self._receiver.deliver(cell)
                failures_in_a_row, pause = 0, self._retry_seconds
                with suppress(Exception):  # the trial is delivered all the same
                    self._prepare_with(self._to_compare or [cell])
            except Exception as error:  # no failure of the server may stop training
                failures_in_a_row += 1
                self.last_error = f"{cell.name}: {reason(error)}"
                with self._changed:
                    self._pending.setdefault(cell.fingerprint, cell)
                    if self._stopping:
                        failed_at_the_end.add(cell.fingerprint)
                    else:
                        self._changed.wait_for(lambda: self._stopping, timeout=pause)
                        pause = min(2 * pause, LONGEST_PAUSE * self._retry_seconds)
                        # The server may be back by the end: one more failure is allowed then.
                        failures_in_a_row = min(failures_in_a_row, GIVE_UP_AFTER - 1)

    @property
    def left(self) -> list[Cell]:
        """After `finish`: trials that were announced and not delivered."""
        return list(self._pending.values())

    @property
    def undelivered(self) -> int:
        """After `finish`: number of trials whose runs are not up to date."""
        return len(self._pending)


class Deliveries:
    """Several deliveries, which are told of the same trials."""

    def __init__(self, *deliveries: Announced) -> None:
        self._deliveries = deliveries

    def announce(self, cell: Cell) -> None:
        """Tell all of them that there is something new in the folder of a trial."""
        for delivery in self._deliveries:
            delivery.announce(cell)


def bring_up_to_date(tracker: Tracker, cells: Sequence[Cell]) -> None:
    """Deliver trials while nothing is trained.

    With a storage that is read-only, nothing is delivered, and a line says so.

    Args:
        tracker: delivers the trials.
        cells: the trials.

    Raises:
        ConfigurationError: see `reach`.
    """
    try:
        tracker.storage.require_writable()
    except ConfigurationError as error:
        _print(f"{error}; nothing is delivered to MLflow")
        return
    reach(tracker, cells)
    tracker.storage.share_databases()
    with delivering(tracker, cells):
        pass


@contextmanager
def delivering(
    tracker: Tracker,
    cells: Sequence[Cell],
    cells_at_end: Callable[[], Sequence[Cell]] | None = None,
) -> Iterator[Delivery]:
    """Deliver trials during the training, and print at the end what was not delivered.

    Args:
        tracker: delivers the trials; see `reach`.
        cells: trials whose runs may be out of date.
        cells_at_end: returns the trials that there are at the end, which the views of MLflow's UI
            then show; None if no trials are added.
    """
    delivery = Delivery(tracker, cells, prepare=tracker.prepare_views)
    try:
        yield delivery
    finally:
        for cell in cells:
            delivery.announce(cell)
        delivery.finish()
        if tracker.num_replaced:
            _print(
                f"{number_of(tracker.num_replaced, 'MLflow run')} replaced: a trial that was "
                "trained again, or has other labels now, gets a new run, and the old one is marked "
                "as deleted"
            )
        if cells_at_end is not None and delivery.is_prepared:
            try:
                tracker.prepare_views(cells_at_end())
            except Exception as error:  # the search itself is over, and has its results
                _print(f"the views of MLflow's UI could not be written ({reason(error)})")
        if delivery.undelivered:
            _print(
                f"{number_of(delivery.undelivered, 'trial')} not up to date on the tracking server "
                f"({delivery.last_error}); run the same command again to deliver them"
            )


def reach(tracker: Tracker, cells: Sequence[Cell]) -> None:
    """Connect to the server.

    If the connection fails although trials were delivered there before, the sweep continues, and
    the delivery is repeated later.

    Args:
        tracker: of the server.
        cells: the trials of the sweep.

    Raises:
        ConfigurationError: the connection failed, and nothing was ever delivered to this server.
    """
    tracker.hide_secrets(cells)
    if tracker.server.named.startswith(VARIABLE):
        _print(f"MLflow is at {tracker.server.named}; --tracking-uri overrides it")
    try:
        tracker.connected()
    except ConfigurationError as error:
        if not tracker.has_delivered(cells):
            raise
        _print(f"{error}; the sweep continues, and delivery is repeated")
    if tracker.note:
        _print(tracker.note)


def _print(line: str) -> None:
    print(f"sweeps: {line}", file=sys.stderr, flush=True)
