"""The storage folder: one folder a trial, which is the truth about it.

::

    <storage>/trials/<fingerprint>/recipe.json     canonical JSON of what runs
                                   history.jsonl   one line an epoch
                                   checkpoint.pt   the last saved state, with
                                   checkpoint.previous.pt  the one before it
                                   *.refused       a damaged checkpoint, or another recipe's
                                   result.json     there once the trial is finished, for good
                                   failure.json    there while the last attempt failed
                                   stopped.json    there while a study has put it out of its race
                                   weights.pt      the finished network
                                   delivery.json   what the tracking server already has
                                   .lock           held by the process that trains it
    <storage>/mlflow.db, mlartifacts/              the default tracking store
    <storage>/ray/                                 Ray Tune's own files
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from quantlab import ConfigurationError


class TrialState(Enum):
    """How far a trial is; see `analysis.schema.STATES`."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    """Started; whether a process is still at it is not known here."""
    COMPLETE = "COMPLETE"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self in (TrialState.COMPLETE, TrialState.DIVERGED)


class TrialFolder:
    """The files of one trial. Every file is replaced whole, but for the history, which grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.history = path / "history.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.stopped = path / "stopped.json"
        self.weights = path / "weights.pt"
        self.delivery = path / "delivery.json"

    @property
    def fingerprint(self) -> str:
        """The trial's identity."""
        return self.path.name

    def sibling(self, fingerprint: str) -> "TrialFolder":
        """The folder of another trial of the same storage."""
        return TrialFolder(self.path.parent / fingerprint)

    def state(self) -> TrialState:
        """Read off which files are there."""
        if result := self.read(self.result):
            return TrialState(result["state"])
        if self.failure.exists():
            return TrialState.FAILED
        if self.stopped.exists():
            return TrialState.STOPPED
        return TrialState.RUNNING if self.recipe.exists() else TrialState.WAITING

    @contextmanager
    def locked(self, name: str = ".lock") -> Iterator[None]:
        """Be the only process that trains this trial; wait for another one to end or die.

        Args:
            name: of the file, another one for what is not training.
        """
        with (self.path / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read(self, file: Path) -> dict[str, Any]:
        """A JSON file of this folder; empty if it is not there, or was lost in a power cut."""
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return {}
        return content

    def write(self, file: Path, content: Mapping[str, Any]) -> None:
        """Replace a JSON file of this folder, whole."""
        write_atomically(file, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def read_history(self) -> list[dict[str, Any]]:
        """The epochs so far, oldest first; a last line cut short by a crash is left out."""
        try:
            lines = self.history.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add an epoch."""
        with self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind_history(self, epoch: int) -> None:
        """Keep the first `epoch` epochs: those that a checkpoint stands behind."""
        kept = [record for record in self.read_history() if record["epoch"] <= epoch]
        lines = [json.dumps(record, sort_keys=True) + "\n" for record in kept]
        write_atomically(self.history, "".join(lines))


class Storage:
    """A folder, shared by all machines of a cluster, that holds everything sweeps leave behind."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def require_writable(self) -> None:
        """Make the folder.

        Raises:
            ConfigurationError: it cannot be made or written to.
        """
        try:
            for folder in (self.root, self.root / "trials"):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"--storage {self.root}: cannot be written to ({error.strerror})"
            ) from error

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Be the only driver at work on this folder; a driver that dies lets go of it.

        Args:
            shared: let others be at work on it that share it, too.

        Raises:
            ConfigurationError: another one is at work on it.
        """
        with (self.root / ".lock").open("a") as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigurationError(
                    f"--storage {self.root}: another `sweeps` command is at work on it; "
                    "wait until it ends, or give another folder"
                ) from error
            except OSError as error:
                raise ConfigurationError(
                    f"--storage {self.root}: its file system cannot lock files ({error.strerror})"
                ) from error
            yield

    def trial(self, fingerprint: str) -> TrialFolder:
        """A trial's files; nothing is made yet."""
        return TrialFolder(self.root / "trials" / fingerprint)

    @property
    def default_tracking_uri(self) -> str:
        """The embedded MLflow database."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Where the embedded tracking store keeps artifacts."""
        return self.root / "mlartifacts"


def write_atomically(path: Path, text: str) -> None:
    """Readers find the old content or the new, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
