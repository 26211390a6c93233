"""A thread beside the driver that keeps the tracking server up to date.

A slow server never holds up training, and nothing is lost while it is away.
"""

import threading

from quantlab.errors import first_line
from sweeps.spec import Cell
from sweeps.tracking import Tracker

GIVE_UP_AFTER = 3
"""At the end of a sweep, so many failures in a row mean that the server is away."""


class Delivery:
    """A thread that brings trials to the tracker, each as often as it is announced.

    What cannot be delivered is tried again, and stays in its folder for the next sweep if the
    server does not come back before the end.
    """

    def __init__(self, tracker: Tracker, *, retry_seconds: float = 10.0) -> None:
        self._tracker = tracker
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

    def _work(self) -> None:
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
                self.last_error = f"{cell.name}: {first_line(error)}"
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
