"""Read the attempts to train a trial from its folder, and record those whose process has died.

The attempt that finishes a trial is in ``result.json``, so that most trials have no further file.
An attempt that ends otherwise is a line of ``attempts.jsonl``. An attempt in progress is in
``running.json``, which its process writes again every few seconds as a sign of life. If the process
dies, the file stays, and the next attempt turns it into a line. Time is that of a wall clock, from
the moment at which a process holds the lock of the trial. See `sweeps.spending.ongoing`.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.storage.folder import TrialFolder
from sweeps.storage.record_files import read_text
from sweeps.storage.records import Attempt, Result, Running, TrialState
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode

SIGN_SECONDS = 10.0
"""Minimum time between two signs of life."""
_SECONDS_OF_A_TRIAL = 1.0
"""The same for each trial of a pack, as each of them has a file."""
_DELAY_SECONDS = 60.0
"""How much later a machine may see a sign of life, on a network file system."""


def sign_seconds(trials: int) -> float:
    """Return the time between two signs of life, in seconds.

    Args:
        trials: number of trials that share a slot.
    """
    return max(SIGN_SECONDS, trials * _SECONDS_OF_A_TRIAL)


def attempts_of(folder: TrialFolder, result: Result | None = None) -> list[Attempt]:
    """Return the attempts to train a trial in their order; those of earlier releases are unknown.

    That of a trial which is trained now ends now. That of a trial whose process has died ends with
    its last sign of life, also while the next process holds the lock and has recorded nothing yet.

    Args:
        folder: the folder of the trial.
        result: its result, if it was read already.
    """
    if result is None:
        result = folder.result.read()
    kept = kept_attempts(folder)
    if result is not None and result.attempt is not None:  # which an archive may have, too
        earlier = [attempt for attempt in kept if not _is_among(attempt, [result.attempt])]
        return [*earlier, result.attempt]
    running = folder.running.read() if result is None else None
    if running is None or running.attempt is None or _is_among(running.attempt, kept):
        return kept
    state = folder.state()
    # A process saves the state of a trial for a moment after a study has pruned it.
    is_pruned_now = state is TrialState.STOPPED and folder.is_locked()
    if state is not TrialState.RUNNING and not is_pruned_now:
        return [*kept, _died(folder, running)]
    now, last = time.time(), _last_sign(folder, running)
    is_silent = now - last > _DELAY_SECONDS + 2 * sign_seconds(running.sharing)
    return [*kept, _until(running, last if is_silent else now)]


def keep_earlier(folder: TrialFolder) -> None:
    """Record an attempt whose process died, and that of a result which is about to be replaced."""
    with suppress(OSError, ConfigurationError):  # the disk may be full, or a record be newer
        result, kept = folder.result.read(), kept_attempts(folder)
        finished = [] if result is None or result.attempt is None else [result.attempt]
        running = folder.running.read()
        if running is not None and running.attempt is not None:
            if not _is_among(running.attempt, [*kept, *finished]):
                keep(folder, _died(folder, running))
            folder.running.remove()
        for attempt in finished:
            if not _is_among(attempt, kept):
                keep(folder, attempt)


def _is_among(attempt: Attempt, others: Iterable[Attempt]) -> bool:
    """Whether an attempt was recorded already: its process may die between two records of it."""
    return any((attempt.began, attempt.machine) == (other.began, other.machine) for other in others)


def _died(folder: TrialFolder, running: Running) -> Attempt:
    attempt = _until(running, _last_sign(folder, running))
    attempt = replace(attempt, state=TrialState.INTERRUPTED, died=True)
    saved = running.saved if running.last_sign else _time_of(folder.checkpoint) or 0.0
    return replace(attempt, lost_seconds=lost_seconds(attempt, saved))


def _last_sign(folder: TrialFolder, running: Running) -> float:
    """Return the time of the last sign of life, which is that of the file in older releases."""
    return running.last_sign or _time_of(folder.running.path) or time.time()


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:  # there is no such file, or it has gone meanwhile
        return None


def _until(running: Running, end: float) -> Attempt:
    """Return the attempt of a command as if it had ended at a time."""
    attempt = running.attempt
    assert attempt is not None
    since = max(0.0, end - (running.last_sign or attempt.began))
    share = since / max(1, running.sharing or attempt.pack)
    return by(
        running,
        replace(
            attempt, seconds=attempt.seconds + since, slot_seconds=attempt.slot_seconds + share
        ),
    )


def by(running: Running, attempt: Attempt) -> Attempt:
    """Return an attempt with the fields that the record of its command has."""
    return replace(
        attempt,
        command=running.command,
        user=running.user,
        host=running.host,
        process=running.process,
        job=running.job,
        command_id=running.command_id,
    )


def lost_seconds(attempt: Attempt, saved: float) -> float:
    """Return the part of an attempt's share that followed the last checkpoint, in seconds.

    Args:
        attempt: an attempt that has ended.
        saved: time of the last checkpoint in seconds since 1970; that of an earlier attempt, or 0,
            if there is none of this one.
    """
    if not attempt.seconds:
        return 0.0
    end = attempt.began + attempt.seconds
    part = min(max(0.0, end - max(saved, attempt.began)), attempt.seconds)
    return attempt.slot_seconds * part / attempt.seconds


def _file(folder: TrialFolder) -> Path:
    return folder.path / "attempts.jsonl"


def keep(folder: TrialFolder, attempt: Attempt) -> None:
    """Append an attempt to ``attempts.jsonl``."""
    with _file(folder).open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_cut = file.read(1) not in (b"", b"\n")  # by a disk that was full, or a power failure
        line = encode(attempt, folder.fingerprint) + "\n"
        file.write(b"\n" * is_cut + line.encode())


def kept_attempts(folder: TrialFolder) -> list[Attempt]:
    """Return the lines of ``attempts.jsonl``; damaged ones are left out, as nothing needs them."""
    return _read(_file(folder), folder.fingerprint)


def keep_all_of(folder: TrialFolder, further: Path) -> None:
    """Append the attempts to train the trial that were made in another storage.

    Args:
        folder: the folder of the trial.
        further: the ``attempts.jsonl`` of the other storage.
    """
    kept = kept_attempts(folder)
    for attempt in _read(further, folder.fingerprint):
        if not _is_among(attempt, kept):
            keep(folder, attempt)


def _read(file: Path, fingerprint: str) -> list[Attempt]:
    try:
        lines = (read_text(file) or "").splitlines()
    except DamagedError:
        return []
    found = []
    for line in lines:
        with suppress(DamagedError, NewerError):
            found.append(decode(Attempt, line, fingerprint))
    return found
