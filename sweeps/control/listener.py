"""Listener: what the driver of a sweep does about requests and about its budget."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from sweeps.control.commands import OwnCommand, live_commands, registered
from sweeps.control.gate import Gate
from sweeps.control.requests import CANCEL, PAUSE, Request, Requests
from sweeps.storage.folder import Storage
from sweeps.storage.records import Origin

CANCELLED, OVER_BUDGET = "CANCELLED", "OVER_BUDGET"
"""Kinds of `Ending`."""
_DONE = {PAUSE: "paused", CANCEL: "cancelled"}
_TO_CONTINUE = "to continue, run the same command again"


@dataclass(frozen=True)
class Ending:
    """Why a command ends before all of its trials have finished, although nothing is wrong."""

    state: str
    """`CANCELLED` or `OVER_BUDGET`."""
    line: str
    """The reason for the user, in one line."""


class Listener:
    """Looks at the requests and at a limit from time to time, and says what is new."""

    def __init__(self, gate: Gate, own: OwnCommand) -> None:
        """Start without a limit.

        Args:
            gate: the requests about the sweep.
            own: the entry of this command, which tells others what it knows.
        """
        self.gate = gate
        self.limit: Callable[[], Ending | None] = lambda: None
        """Returns the ending of this command if it has reached a limit, such as its budget."""
        self.notes: list[str] = []
        """Lines to say when somebody listens."""
        self.say: Callable[[str], None] = lambda line: None
        """Called with one line of text about each request that is new or gone."""
        self.ending: Ending | None = None
        """Why no trial may run any more; None as long as there is no reason."""
        self._own = own
        self._told: tuple[Request, ...] = ()
        self._tell()

    def look(self) -> None:
        """Look at the requests and at the limit, unless the last look was just now."""
        if self.gate.look():
            self._tell()
        if self.ending is None and (request := self.gate.all_cancelled) is not None:
            self.ending = Ending(
                CANCELLED, f"all trials were cancelled by {request.by}; {_TO_CONTINUE}"
            )
        if self.ending is None:
            self.ending = self.limit()

    def begin(self, say: Callable[[str], None]) -> None:
        """Say, from now on, what is new; and at once which trials are paused already."""
        self.say = say
        for request in self._told:
            if request.kind == PAUSE:
                say(f"{_made(request)}; they wait for `sweeps resume`")
        for note in self.notes:
            say(note)

    def _tell(self) -> None:
        now = self.gate.standing
        for request in now:
            if request not in self._told:
                who = f"{request.user or 'a user'} on {request.host}"
                self.say(
                    f"{who} has {_DONE[request.kind]} {request.what} at {request.moment}; those of "
                    "them that run save their state and stop"
                )
        for request in self._told:
            if request not in now and request.kind == PAUSE:
                self.say(f"the pause of {request.what} by {request.by} is over")
        self._told = now
        self._own.answer(tuple(request.id for request in now))


def _made(request: Request) -> str:
    """Return what was made of which trials, such as ``all trials are paused by ann on node1``."""
    verb = "is" if request.trials == 1 and not request.resumed else "are"
    return f"{request.what} {verb} {_DONE[request.kind]} by {request.by}"


def cancelled_trials(requests: Collection[Request]) -> Ending | None:
    """Return the ending of a command of which some trials were cancelled; None without any.

    Args:
        requests: for each of the trials, the request because of which it was.
    """
    if not requests:
        return None
    number = "1 trial was" if len(requests) == 1 else f"{len(requests)} trials were"
    by = " and ".join(sorted({request.by for request in requests}))
    return Ending(CANCELLED, f"{number} cancelled by {by}; {_TO_CONTINUE}")


@contextmanager
def listening(storage: Storage, name: str, origin: Origin) -> Iterator[Listener]:
    """Listen to the requests about a sweep or study within a `with` block.

    Args:
        storage: the storage, which is writable.
        name: name of the sweep or study.
        origin: the command.
    """
    requests = Requests(storage, name)
    forget_cancellations(requests)
    gate = Gate(requests)  # before others can see this command: they wait for its answer
    try:
        with registered(requests, origin) as own:
            yield Listener(gate, own)
    finally:
        with suppress(OSError, ConfigurationError):  # the next command does it
            forget_cancellations(requests)


def forget_cancellations(requests: Requests) -> None:
    """Remove cancellations as soon as no command runs that they could concern.

    Until then they stand, also when all trials have stopped: a trial that waits in Ray for its
    turn would be trained otherwise.
    """
    past = [request for request in requests.standing() if request.kind == CANCEL]
    if past and not live_commands(requests):
        requests.remove(past)
