"""Record the attempts to train a trial in its folder, and read them.

The attempt that finishes a trial is in ``result.json``, so that most trials need no further file.
An attempt that ends otherwise is a line of ``attempts.jsonl``. An attempt in progress is in
``running.json``, and the time of this file is its last sign of life. If the process dies, the file
stays, and the next attempt turns it into a line. Time is that of a wall clock, from the moment at
which a process holds the lock of the trial.
"""

import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.storage.folder import TrialFolder
from sweeps.storage.record_files import read_text
from sweeps.storage.records import Attempt, Result, Running, TrialState
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode

SIGN_SECONDS = 10.0
"""Minimum time between two signs of life."""


@dataclass(frozen=True)
class Reserved:
    """What is reserved for a trial, or for the pack in which it is trained."""

    cpus: float = 0.0
    """Number of CPUs; 0 if it is unknown."""
    gpus: float = 0.0
    """Number of GPUs, which may be a fraction."""


UNKNOWN = Reserved()


class OngoingAttempts:
    """The attempts of the trials of a pack, which one process trains now."""

    def __init__(
        self,
        folders: Iterable[TrialFolder],
        running: Running | None,
        reserved: Reserved = UNKNOWN,
    ) -> None:
        """Begin the attempts, and record those whose process has died.

        Args:
            folders: the folders of the trials, whose locks this process holds.
            running: the command that trains the trials; None for a program of the user.
            reserved: what is reserved for all of them together.
        """
        self._folders = {folder.fingerprint: folder for folder in folders}
        self._running = running
        self._began = self._counted = self._shown = time.time()
        self._slot_seconds = dict.fromkeys(self._folders, 0.0)
        self._attempts = {}
        for fingerprint, folder in self._folders.items():
            _keep_earlier(folder)
            self._attempts[fingerprint] = Attempt(
                began=self._began,
                cpus=reserved.cpus,
                gpus=reserved.gpus,
                pack=len(self._folders),
                number=len(_kept(folder)) + 1,
                machine=platform.node(),
            )

    def running(self, folder: TrialFolder) -> Running | None:
        """Return the record of the command with the attempt of a trial; None without a command."""
        attempt = self._attempts[folder.fingerprint]
        return self._running and replace(self._running, attempt=attempt)

    def show_life(self) -> None:
        """Renew the sign of life if it is old; called regularly while the pack is trained."""
        now = time.time()
        if self._running is None or now - self._shown < SIGN_SECONDS:
            return
        self._shown = now
        for fingerprint in self._attempts:
            with suppress(OSError):  # somebody may have removed the folder
                os.utime(self._folders[fingerprint].running.path, (now, now))

    def finish(self, folder: TrialFolder, state: TrialState) -> Attempt:
        """End the attempt of a trial that has a result, and return it for the result.

        Args:
            folder: the folder of the trial.
            state: COMPLETE or DIVERGED.
        """
        self._count()
        attempt = self._attempts.pop(folder.fingerprint)
        return self._ended(folder, attempt, state)

    def stop(self, *, failed: bool = False) -> None:
        """End the attempts of the trials that have no result, and record them.

        Args:
            failed: whether an error ended them, so that what follows the last checkpoints is lost.
        """
        self._count()
        state = TrialState.FAILED if failed else TrialState.INTERRUPTED
        for fingerprint in list(self._attempts):
            folder, attempt = self._folders[fingerprint], self._attempts.pop(fingerprint)
            ended = self._ended(folder, attempt, state)
            if failed:
                ended = replace(ended, lost_seconds=_lost(folder, ended))
            with suppress(OSError):  # the disk may be full
                _append(folder, ended)

    def _count(self) -> None:
        """Add the time since the last count to the shares of the trials that have not ended."""
        now = time.time()
        for fingerprint in self._attempts:
            self._slot_seconds[fingerprint] += max(0.0, now - self._counted) / len(self._attempts)
        self._counted = now

    def _ended(self, folder: TrialFolder, attempt: Attempt, state: TrialState) -> Attempt:
        ended = replace(
            attempt,
            seconds=max(0.0, self._counted - self._began),
            slot_seconds=self._slot_seconds[folder.fingerprint],
            state=state,
        )
        return ended if self._running is None else _by(self._running, ended)


def attempts_of(folder: TrialFolder, result: Result | None = None) -> list[Attempt]:
    """Return the attempts to train a trial in their order; those of earlier releases are unknown.

    That of a trial which is trained now ends now. That of a trial whose process has died ends with
    its last sign of life.

    Args:
        folder: the folder of the trial.
        result: its result, if it was read already.
    """
    if result is None:
        result = folder.result.read()
    if result is not None and result.attempt is not None:
        earlier = _kept(folder) if result.attempt.number > 1 else []
        return [*earlier, result.attempt]
    kept = _kept(folder)
    running = folder.running.read() if result is None else None
    if running is None or running.attempt is None or _is_among(running.attempt, kept):
        return kept
    if folder.state() is TrialState.RUNNING:
        return [*kept, _until(running, time.time())]
    return [*kept, _died(folder, running)]


def _keep_earlier(folder: TrialFolder) -> None:
    """Record an attempt whose process died, and that of a result which is about to be replaced."""
    with suppress(OSError, ConfigurationError):  # the disk may be full, or a record be newer
        result, kept = folder.result.read(), _kept(folder)
        finished = [] if result is None or result.attempt is None else [result.attempt]
        running = folder.running.read()
        if running is not None and running.attempt is not None:
            if not _is_among(running.attempt, [*kept, *finished]):
                _append(folder, _died(folder, running))
            folder.running.remove()
        for attempt in finished:
            if not _is_among(attempt, kept):
                _append(folder, attempt)


def _is_among(attempt: Attempt, others: Iterable[Attempt]) -> bool:
    """Whether an attempt was recorded already: its process may die between two records of it."""
    return any((attempt.began, attempt.machine) == (other.began, other.machine) for other in others)


def _died(folder: TrialFolder, running: Running) -> Attempt:
    try:
        last = folder.running.path.stat().st_mtime
    except OSError:  # it has ended meanwhile
        last = time.time()
    attempt = replace(_until(running, last), state=TrialState.INTERRUPTED, died=True)
    return replace(attempt, lost_seconds=_lost(folder, attempt))


def _until(running: Running, end: float) -> Attempt:
    """Return the attempt of a command as if it had ended at a time."""
    assert running.attempt is not None
    seconds = max(0.0, end - running.attempt.began)
    share = seconds / max(1, running.attempt.pack)
    return _by(running, replace(running.attempt, seconds=seconds, slot_seconds=share))


def _by(running: Running, attempt: Attempt) -> Attempt:
    return replace(
        attempt,
        command=running.command,
        user=running.user,
        host=running.host,
        process=running.process,
        job=running.job,
        command_id=running.command_id,
    )


def _lost(folder: TrialFolder, attempt: Attempt) -> float:
    """Return the part of an attempt's share that followed the last checkpoint, in seconds."""
    end = attempt.began + attempt.seconds
    try:
        saved = folder.checkpoint.stat().st_mtime
    except OSError:  # there is none
        saved = attempt.began
    part = min(max(0.0, end - max(saved, attempt.began)), attempt.seconds)
    return attempt.slot_seconds * part / attempt.seconds if attempt.seconds else 0.0


def _file(folder: TrialFolder) -> Path:
    return folder.path / "attempts.jsonl"


def _append(folder: TrialFolder, attempt: Attempt) -> None:
    with _file(folder).open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_cut = file.read(1) not in (b"", b"\n")  # by a disk that was full, or a power failure
        line = encode(attempt, folder.fingerprint) + "\n"
        file.write(b"\n" * is_cut + line.encode())


def _kept(folder: TrialFolder) -> list[Attempt]:
    """Return the lines of ``attempts.jsonl``; damaged ones are left out, as nothing needs them."""
    try:
        lines = (read_text(_file(folder)) or "").splitlines()
    except DamagedError:
        return []
    found = []
    for line in lines:
        with suppress(DamagedError, NewerError):
            found.append(decode(Attempt, line, folder.fingerprint))
    return found
