"""A thread beside the driver that keeps the tracking server up to date.

A slow server never holds up training, and nothing is lost while it is away.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from quantlab import ConfigurationError
from sweeps.spec import Cell
from sweeps.tracking.experiment import reason
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.uri import VARIABLE

GIVE_UP_AFTER = 3
"""At the end of a sweep, so many failures in a row mean that the server is away."""


class Delivery:
    """A thread that brings trials to the tracker, each as often as it is announced.

    What cannot be delivered is tried again, and stays in its folder for the next sweep if the
    server does not come back before the end.
    """

    def __init__(
        self, tracker: Tracker, cells: Sequence[Cell] = (), *, retry_seconds: float = 10.0
    ) -> None:
        """Begin.

        Args:
            tracker: where trials are recorded.
            cells: trials to deliver in so far as the server does not have them.
            retry_seconds: how long to wait after a failure.
        """
        self._tracker = tracker
        self._to_compare = cells
        self._retry_seconds = retry_seconds
        self._pending: dict[str, Cell] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self.last_error = ""
        """Why the latest failed delivery failed; empty if none did."""
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def announce(self, cell: Cell) -> None:
        """There is something new in a trial's folder."""
        with self._changed:
            self._pending[cell.fingerprint] = cell
            self._changed.notify()

    def finish(self) -> None:
        """Deliver what is pending, unless the server is away, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _compare(self) -> None:
        """Announce what the server does not have; everything, if it does not say."""
        behind = self._to_compare
        try:
            if behind:
                behind = self._tracker.behind(behind)
        except Exception as error:  # whatever it is, training must not notice
            self.last_error = reason(error)
        for cell in behind:
            self.announce(cell)

    def _work(self) -> None:
        self._compare()
        failures_in_a_row = 0
        failed_at_the_end: set[str] = set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._stopping)
                waiting = [key for key in self._pending if key not in failed_at_the_end]
                if not waiting or (self._stopping and failures_in_a_row >= GIVE_UP_AFTER):
                    return
                cell = self._pending.pop(waiting[0])
            try:
                self._tracker.deliver(cell)
                failures_in_a_row = 0
            except Exception as error:  # whatever it is, training must not notice
                failures_in_a_row += 1
                self.last_error = f"{cell.name}: {reason(error)}"
                with self._changed:
                    self._pending.setdefault(cell.fingerprint, cell)
                    if self._stopping:
                        failed_at_the_end.add(cell.fingerprint)
                    else:
                        self._changed.wait_for(lambda: self._stopping, timeout=self._retry_seconds)
                        # The server may be back by the end, so that takes one more failure.
                        failures_in_a_row = min(failures_in_a_row, GIVE_UP_AFTER - 1)

    @property
    def undelivered(self) -> int:
        """After `finish`: trials that the server does not have as they are."""
        return len(self._pending)


def bring_up_to_date(tracker: Tracker, cells: Sequence[Cell]) -> None:
    """Bring trials to the tracker that nobody trains now.

    A storage that can only be read is no error then.

    Raises:
        ConfigurationError: see `reach`.
    """
    try:
        tracker.storage.require_writable()
    except ConfigurationError as error:
        _say(f"{error}; MLflow is left as it is")
        return
    reach(tracker, cells)
    tracker.storage.share_databases()
    with delivering(tracker, cells):
        pass


@contextmanager
def delivering(tracker: Tracker, cells: Sequence[Cell]) -> Iterator[Delivery]:
    """Deliver trials beside the training, and say in the end what was not delivered.

    Args:
        tracker: where trials are recorded; see `reach`.
        cells: trials that the server may not have as they are.
    """
    delivery = Delivery(tracker, cells)
    try:
        yield delivery
    finally:
        for cell in cells:
            delivery.announce(cell)
        delivery.finish()
        if tracker.num_made_anew:
            _say(
                f"{tracker.num_made_anew} runs in MLflow were of trials that were trained anew or "
                "have other labels now: they are in its bin, and others in their place"
            )
        if delivery.undelivered:
            _say(
                f"{delivery.undelivered} trials are not on the tracking server as they are "
                f"({delivery.last_error}); their records are kept, and the same command delivers "
                "them"
            )


def reach(tracker: Tracker, cells: Sequence[Cell]) -> None:
    """Connect; a server that was there before and is away now does not keep a sweep from going on.

    Raises:
        ConfigurationError: it has never been reached.
    """
    tracker.hide_secrets(cells)
    if tracker.server.named.startswith(VARIABLE):
        _say(f"MLflow is at {tracker.server.named}; --tracking-uri would go before it")
    try:
        tracker.connected()
    except ConfigurationError as error:
        if not tracker.has_delivered(cells):
            raise
        _say(f"{error}; going on, and trying again")
    if tracker.note:
        _say(tracker.note)


def _say(line: str) -> None:
    print(f"sweeps: {line}", file=sys.stderr, flush=True)
