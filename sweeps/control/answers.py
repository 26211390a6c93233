"""Wait for the answers of the commands that train a sweep to a request."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sweeps.control.commands import LiveCommand, live_commands
from sweeps.control.requests import CANCEL, PAUSE, Request, Requests
from sweeps.storage.folder import Storage

LOOK_SECONDS = 0.5
"""Minimum time between two looks."""
_PAUSE = 5.0
"""On a slow file system, the time between two looks as compared with that of a look."""


@dataclass(frozen=True)
class Answers:
    """What the commands that train a sweep have done about a request."""

    request: Request
    asked: tuple[LiveCommand, ...]
    """The commands that ran when the request was made."""
    silent: tuple[LiveCommand, ...]
    """Those of them that have not obeyed yet."""


def wait_for_answers(
    requests: Requests,
    request: Request,
    trials: Collection[str] | None,
    storage: Storage,
    *,
    seconds: float,
    tell: Callable[[LiveCommand], object],
) -> Answers:
    """Wait until all commands obey a request: they have ended, or none of the trials runs in them.

    Args:
        requests: the requests about the sweep.
        request: the request, which stands already.
        trials: fingerprints of the trials that it concerns; None for all.
        storage: the storage of the trials.
        seconds: maximum time to wait.
        tell: called with each command that was asked, before the wait.
    """
    asked = live_commands(requests)
    for command in asked.values():
        tell(command)
    began = time.monotonic()
    while True:
        looked = time.monotonic()
        now = live_commands(requests)
        left = {name: now[name] for name in asked if name in now}
        silent = {name for name, command in left.items() if request.id not in command.seen}
        if not silent and request.kind == CANCEL and trials is None:
            silent = set(left)  # until they have ended
        is_pause = request.kind == PAUSE and trials is not None
        if silent and is_pause and all(map(storage.has_finished, trials or ())):
            silent = set()  # there is nothing to stop any more
        if not silent and left:
            silent = _training(left, trials, storage)
        ended = time.monotonic()
        if not silent or ended - began >= seconds:
            silents = tuple(command for name, command in asked.items() if name in silent)
            return Answers(request, tuple(asked.values()), silents)
        time.sleep(max(LOOK_SECONDS, _PAUSE * (ended - looked)))


def _training(
    commands: Mapping[str, LiveCommand], trials: Collection[str] | None, storage: Storage
) -> set[str]:
    """Return which of the commands train one of the trials; None for any."""
    names = {one.identity: name for name, one in commands.items()}
    found = set()
    for path in (storage.root / "trials").glob("*/running.json"):
        folder = storage.trial(path.parent.name)
        if trials is None or folder.fingerprint in trials:
            running = folder.trained_by()
            name = running and names.get(running.identity)
            if name:
                found.add(name)
    return found
