"""The requests to all commands that train a sweep or study: to pause it, or to cancel their work.

They are small files in the storage, so that they reach commands on all machines::

    <storage>/control/<name>/requests.json    the requests that stand
                             <id>.json        the trials that a request concerns, if not all
                             .lock            locked while requests.json is changed
                             commands/        see `sweeps.control.commands`
"""

import fcntl
import getpass
import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from sweeps.printing.number_of import number_of
from sweeps.storage import sharing
from sweeps.storage.folder import Storage
from sweeps.storage.record_files import RecordFile

PAUSE, CANCEL = "pause", "cancel"
"""Kinds of `Request`. A pause stands until `sweeps resume`. A cancellation concerns the commands
that ran when it was made, and no later one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to the commands that train a sweep."""

    id: str
    """Identifies the request; no other one ever has it."""
    kind: str
    """`PAUSE` or `CANCEL`."""
    time: float
    """Time at which it was made, in seconds since 1970."""
    user: str = ""
    """Who made it; empty if the user has no name."""
    host: str = ""
    """The machine on which it was made."""
    trials: int = 0
    """Number of the trials that it concerns; 0 for all, also those that are added later."""
    conditions: str = ""
    """The options that chose these trials, such as ``--only method=PC``; empty for all."""
    resumed: int = 0
    """Number of trials that were resumed after a pause of all, which still concerns all others,
    also those that are added later; `trials` is then the number of those that were known. Earlier
    releases take it for a pause of these."""

    @property
    def what(self) -> str:
        """What it concerns, such as ``12 trials (--only method=PC)``."""
        if self.resumed:
            verb = "was" if self.resumed == 1 else "were"
            return f"all trials but {self.resumed} that {verb} resumed"
        if not self.trials:
            return "all trials"
        number = number_of(self.trials, "trial")
        return f"{number} ({self.conditions})" if self.conditions else number

    @property
    def by(self) -> str:
        """Who made it and when, such as ``ann on node1 at 2026-01-31 23:59:59``."""
        return f"{self.user or 'a user'} on {self.host} at {self.moment}"

    @property
    def moment(self) -> str:
        """When it was made, such as ``2026-01-31 23:59:59``."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time))


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """The requests that stand: ``requests.json``."""

    VERSION: ClassVar[int] = 1
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Trials:
    """The trials that a request concerns: ``<id>.json``."""

    VERSION: ClassVar[int] = 1
    fingerprints: tuple[str, ...]
    resumed: tuple[str, ...] = ()
    """The trials that were resumed after a pause of all; empty if they do not matter."""


@dataclass(frozen=True)
class Concerned:
    """The trials that a request concerns."""

    named: frozenset[str] | None = None
    """Their fingerprints; None for all trials."""
    resumed: frozenset[str] = frozenset()
    """Fingerprints of trials that are not among them."""

    def __contains__(self, fingerprint: str) -> bool:
        is_named = self.named is None or fingerprint in self.named
        return is_named and fingerprint not in self.resumed


class Requests:
    """The requests about one sweep or study in a storage."""

    def __init__(self, storage: Storage, name: str) -> None:
        """Describe the files without reading them.

        Args:
            storage: the storage.
            name: name of the sweep or study.
        """
        self.folder = storage.root / "control" / name
        self._file = RecordFile(
            self.folder / "requests.json",
            _Standing,
            if_damaged="no request stands; repeat `sweeps pause`",
        )

    def standing(self) -> tuple[Request, ...]:
        """Return the requests that stand, in the order in which they were made.

        Raises:
            ConfigurationError: a later version of this program wrote them.
            OSError: they cannot be read now.
        """
        found = self._file.read()
        return () if found is None else found.requests

    def paused(self) -> tuple[Request, ...]:
        """Return the pauses among the requests that stand."""
        return tuple(one for one in self.standing() if one.kind == PAUSE)

    def paused_now(self, has_finished: Callable[[str], bool]) -> tuple[Request, ...]:
        """Return the pauses that hold trials back, each with the number of those that it holds.

        A pause of all is among them, also after some trials were resumed.

        Args:
            has_finished: whether the trial of a fingerprint has finished, so that nothing holds it.
        """
        found = []
        for request in self.paused():
            if request.trials:
                record = self._trials(request.id).read()
                names = () if record is None else record.fingerprints
                request = replace(request, trials=sum(not has_finished(name) for name in names))
                if not request.trials and not request.resumed:
                    continue
            found.append(request)
        return tuple(found)

    def concerned_by(self, request: Request) -> Concerned:
        """Return the trials that a request concerns."""
        if not request.trials:
            return Concerned()
        found = self._trials(request.id).read()
        if found is None:
            return Concerned(frozenset())
        if request.resumed:
            return Concerned(resumed=frozenset(found.resumed))
        return Concerned(frozenset(found.fingerprints))

    def add(self, kind: str, trials: Collection[str] | None, conditions: str = "") -> Request:
        """Make a request.

        Args:
            kind: `PAUSE` or `CANCEL`.
            trials: fingerprints of the trials that it concerns; None for all.
            conditions: see `Request.conditions`.

        Raises:
            ConfigurationError: this process cannot write to the storage.
        """
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # the user ID has no name
            user = ""
        request = Request(
            id=token_hex(8),
            kind=kind,
            time=time.time(),
            user=user,
            host=platform.node(),
            trials=len(trials or ()),
            conditions=conditions,
        )
        with self._locked():
            self._write([*self.standing(), self._chosen(request, trials)])
        return request

    def remove(self, requests: Collection[Request]) -> None:
        """Remove requests; see `add` for errors."""
        ids = {request.id for request in requests}
        with self._locked():
            self._write([one for one in self.standing() if one.id not in ids])

    def resume(self, trials: Collection[str], of: Collection[str]) -> int:
        """End the pauses of some trials, and keep those of the other trials.

        A pause of all is kept for trials that are added later, too, unless all others are resumed.

        Args:
            trials: fingerprints of the trials to resume.
            of: fingerprints of all trials of the sweep that are known.

        Returns:
            How many of the trials were paused.

        Raises:
            ConfigurationError: see `add`.
        """
        resumed: set[str] = set()
        with self._locked():
            left = []
            for request in self.standing():
                concerned = self.concerned_by(request)
                now = frozenset(name for name in trials if name in concerned)
                if request.kind != PAUSE or not now:
                    left.append(request)
                    continue
                resumed |= now
                names = frozenset(of) if concerned.named is None else concerned.named
                without = concerned.resumed | now
                if rest := names - without:
                    is_of_all = concerned.named is None
                    # A new name, because commands read the trials of a request only once.
                    other = replace(
                        request,
                        id=token_hex(8),
                        trials=len(rest),
                        resumed=len(without) if is_of_all else 0,
                    )
                    left.append(self._chosen(other, rest, without if is_of_all else ()))
            self._write(left)
        return len(resumed)

    def _chosen(
        self, request: Request, trials: Collection[str] | None, resumed: Collection[str] = ()
    ) -> Request:
        """Write the trials that a request concerns, before the request stands."""
        if trials is not None:
            record = _Trials(fingerprints=tuple(sorted(trials)), resumed=tuple(sorted(resumed)))
            self._trials(request.id).write(record)
        return request

    def _write(self, requests: Sequence[Request]) -> None:
        before = self.standing()
        self._file.write(_Standing(requests=tuple(requests)))
        ids = {request.id for request in requests}
        for gone in (one for one in before if one.trials and one.id not in ids):
            self._trials(gone.id).path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        root = self.folder.parents[1]
        for folder in (root, self.folder.parent, self.folder):
            sharing.require_writable(folder, f"--storage {root}")
        sharing.adopt_group(self.folder.parents[1])  # commands of others write beside requests
        self.folder.mkdir(parents=True, exist_ok=True)
        with sharing.locked(self.folder / ".lock", fcntl.LOCK_EX):
            yield

    def _trials(self, request_id: str) -> RecordFile[_Trials]:
        path: Path = self.folder / f"{request_id}.json"
        return RecordFile(path, _Trials, if_damaged="the request concerns no trial; repeat it")


def pauses_data(requests: Requests, has_finished: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Describe the pauses that hold trials back as JSON data; see `Requests.paused_now`."""
    return [
        {
            "trials": request.trials if request.resumed else request.trials or None,
            "resumed": request.resumed,
            "conditions": request.conditions or None,
            "user": request.user or None,
            "host": request.host,
            "time": request.time,
        }
        for request in requests.paused_now(has_finished)
    ]
