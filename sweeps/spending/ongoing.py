"""OngoingAttempts: record the attempts of the trials that a process trains now.

A thread gives signs of life, also while nothing but a long evaluation or a copy of the data takes
place. A sign of life is written into the record, because the time of a file changes when somebody
copies the storage.
"""

import platform
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from sweeps.spending.attempts import (
    by,
    keep,
    keep_earlier,
    kept_attempts,
    lost_seconds,
    sign_seconds,
)
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Attempt, Running, TrialState


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
        self._began = self._counted = time.time()
        self._slot_seconds = dict.fromkeys(self._folders, 0.0)
        self._saved = dict.fromkeys(self._folders, 0.0)
        self._attempts = {}
        for fingerprint, folder in self._folders.items():
            keep_earlier(folder)
            self._attempts[fingerprint] = Attempt(
                began=self._began,
                cpus=reserved.cpus,
                gpus=reserved.gpus,
                pack=len(self._folders),
                number=len(kept_attempts(folder)) + 1,
                machine=platform.node(),
            )
        self._lock = threading.Lock()
        """Held while the shares are counted and while a record is written."""
        self._is_over = threading.Event()

    def show(self) -> None:
        """Write the records of a command that trains the trials, and renew them until `stop`.

        Raises:
            OSError: a record cannot be written.
        """
        if self._running is None:
            return
        for fingerprint in list(self._attempts):
            self._show(fingerprint)
        threading.Thread(target=self._keep_showing, name="signs-of-life", daemon=True).start()

    def show_life(self) -> None:
        """Renew the records of the trials that have not ended."""
        for fingerprint in list(self._attempts):
            with suppress(OSError):  # somebody may have removed the folder
                self._show(fingerprint)

    def saved(self, folder: TrialFolder) -> None:
        """Note that a trial has a new checkpoint."""
        self._saved[folder.fingerprint] = time.time()

    def finish(self, folder: TrialFolder, state: TrialState) -> Attempt:
        """End the attempt of a trial that has a result, and return it for the result.

        Args:
            folder: the folder of the trial.
            state: COMPLETE or DIVERGED.
        """
        with self._lock:
            self._count()
            attempt = self._attempts.pop(folder.fingerprint)
        return self._ended(attempt, folder.fingerprint, state)

    def stop(self, *, failed: bool = False) -> None:
        """End the attempts of the trials that have no result, and record them.

        Args:
            failed: whether an error ended them, so that what follows the last checkpoints is lost.
        """
        self._is_over.set()
        with self._lock:
            self._count()
            attempts, self._attempts = self._attempts, {}
        state = TrialState.FAILED if failed else TrialState.INTERRUPTED
        for fingerprint, attempt in attempts.items():
            ended = self._ended(attempt, fingerprint, state)
            if failed:
                lost = lost_seconds(ended, self._saved[fingerprint])
                ended = replace(ended, lost_seconds=lost)
            with suppress(OSError):  # the disk may be full
                keep(self._folders[fingerprint], ended)

    def _keep_showing(self) -> None:
        while not self._is_over.wait(sign_seconds(len(self._attempts))):
            self.show_life()

    def _show(self, fingerprint: str) -> None:
        """Write the record of a trial as of now, unless it has ended."""
        with self._lock:
            if self._running is None or fingerprint not in self._attempts:
                return
            self._count()
            attempt = replace(
                self._attempts[fingerprint],
                seconds=max(0.0, self._counted - self._began),
                slot_seconds=self._slot_seconds[fingerprint],
            )
            record = replace(
                self._running,
                attempt=attempt,
                last_sign=self._counted,
                sharing=len(self._attempts),
                saved=self._saved[fingerprint],
            )
            self._folders[fingerprint].running.write(record)

    def _count(self) -> None:
        """Add the time since the last count to the shares of the trials that have not ended."""
        now = time.time()
        for fingerprint in self._attempts:
            self._slot_seconds[fingerprint] += max(0.0, now - self._counted) / len(self._attempts)
        self._counted = now

    def _ended(self, attempt: Attempt, fingerprint: str, state: TrialState) -> Attempt:
        ended = replace(
            attempt,
            seconds=max(0.0, self._counted - self._began),
            slot_seconds=self._slot_seconds[fingerprint],
            state=state,
        )
        return ended if self._running is None else by(self._running, ended)
