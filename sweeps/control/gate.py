"""Gate: the trials of a sweep that requests hold back, in the driver and in its workers."""

import math
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from quantlab.errors import ConfigurationError
from sweeps.control.requests import CANCEL, PAUSE, Concerned, Request, Requests

LOOK_SECONDS = 2.0
"""Minimum time between two looks at the requests."""


class Gate:
    """What the requests that stand hold back; a look reads one small file, or finds none.

    A copy that is sent to a worker looks by itself, so that a trial stops even if its driver does
    not answer.
    """

    def __init__(self, requests: Requests) -> None:
        """Look at the requests for the first time.

        Args:
            requests: those about the sweep. Cancellations that stand already are ignored for ever,
                because they concern commands of that time.
        """
        self._requests = requests
        self.past = frozenset(one.id for one in requests.standing() if one.kind == CANCEL)
        """Identities of the cancellations that were there before."""
        self._trials: dict[str, Concerned] = {}
        self._next_look = -math.inf
        self.standing: tuple[Request, ...] = ()
        """The requests of the last look that concern this command."""
        self.look()

    def look(self) -> bool:
        """Read the requests again, if the last look is old enough.

        If the storage cannot be read now, the requests of the last look remain.

        Returns:
            Whether there are other requests than before.
        """
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        with suppress(OSError, ConfigurationError):
            found = tuple(one for one in self._requests.standing() if one.id not in self.past)
            if found != self.standing:
                known = self._trials
                self._trials = {
                    one.id: known[one.id] if one.id in known else self._requests.concerned_by(one)
                    for one in found
                }
                self.standing = found
                return True
        return False

    def cancelled(self, fingerprint: str) -> Request | None:
        """Return the cancellation that concerns a trial; None if there is none."""
        return self._of(CANCEL, fingerprint)

    def paused(self, fingerprint: str) -> Request | None:
        """Return a pause that concerns a trial; None if there is none."""
        return self._of(PAUSE, fingerprint)

    def holds_any(self, fingerprints: Iterable[str]) -> bool:
        """Whether one of the trials is not to be trained now."""
        if not self.standing:
            return False
        return any(self.cancelled(one) or self.paused(one) for one in fingerprints)

    @property
    def all_cancelled(self) -> Request | None:
        """The cancellation of all trials; None if there is none."""
        return self._of_all(CANCEL)

    @property
    def all_paused(self) -> Request | None:
        """The pause of all trials; None if there is none."""
        return self._of_all(PAUSE)

    def _of(self, kind: str, fingerprint: str) -> Request | None:
        for request in self.standing:
            if request.kind == kind and fingerprint in self._trials[request.id]:
                return request
        return None

    def _of_all(self, kind: str) -> Request | None:
        of_all = (one for one in self.standing if one.kind == kind and not one.trials)
        return next(of_all, None)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle no time of a look, which is that of a clock of this machine."""
        return {**self.__dict__, "_next_look": -math.inf}
