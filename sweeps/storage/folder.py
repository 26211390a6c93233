"""The storage folder: one folder a trial, which is the truth about it.

::

    <storage>/trials/<fingerprint>/recipe.json     canonical JSON of what runs
                                   history.jsonl   one line an epoch
                                   checkpoint.pt   the last saved state, with
                                   checkpoint.previous.pt  the one before it
                                   *.damaged       what was found damaged, or of another recipe
                                   result.json     there once the trial is finished, for good
                                   failure.json    there while the last attempt failed
                                   stopped.json    there while a study has put it out of its race
                                   weights.pt      the finished network
                                   delivery.json   what the tracking server already has
                                   .lock           held by the process that trains it
    <storage>/mlflow.db, mlartifacts/              the default tracking store
    <storage>/ray/                                 Ray Tune's own files
    <storage>/.mark                                by which workers and runs know this folder
"""

import fcntl
import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.training.checkpoint import require_intact_archive, set_aside
from sweeps.storage import sharing
from sweeps.storage.damage import tell
from sweeps.storage.record_files import RecordFile, read_text, write_atomically
from sweeps.storage.records import Delivered, Epoch, Failure, History, Result, Stopped
from sweeps.storage.records import TrialState as TrialState
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode
from sweeps.storage.sharing import adopt_group, require_writable, share
from sweeps.storage.sqlite_uri import sqlite_uri


class TrialFolder:
    """The files of one trial. Every file is replaced whole, but for the history, which grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.history = path / "history.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self.weights = path / "weights.pt"
        self.result = RecordFile(
            path / "result.json",
            Result,
            if_damaged="it does not count, and `sweeps run` trains the trial again",
        )
        self.failure = RecordFile(
            path / "failure.json", Failure, if_damaged="why the trial failed is not known"
        )
        self.stopped = RecordFile(
            path / "stopped.json", Stopped, if_damaged="who stopped the trial is not known"
        )
        self.delivery = RecordFile(
            path / "delivery.json", Delivered, if_damaged="the tracking server is asked anew"
        )

    @property
    def fingerprint(self) -> str:
        """The trial's identity."""
        return self.path.name

    def make(self) -> None:
        """Make the folder, if it is not there; what has come into its place is set aside."""
        if (self.path.is_symlink() and not self.path.exists()) or self.path.is_file():
            set_aside(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def sibling(self, fingerprint: str) -> "TrialFolder":
        """The folder of another trial of the same storage."""
        return TrialFolder(self.path.parent / fingerprint)

    def state(self) -> TrialState:
        """Read off which files are there, and off the lock of a trial that has not ended."""
        if result := self.result.read():
            return result.state
        if self.failure.exists():
            return TrialState.FAILED
        if self.stopped.exists():
            return TrialState.STOPPED
        if not self.recipe.exists():
            return TrialState.WAITING
        is_trained = sharing.is_held(self.path / ".lock")
        return TrialState.RUNNING if is_trained else TrialState.INTERRUPTED

    @contextmanager
    def locked(self, name: str = ".lock") -> Iterator[None]:
        """Be the only process that trains this trial; wait for another one to end or die.

        Args:
            name: of the file, another one for what is not training.
        """
        with sharing.locked(self.path / name, fcntl.LOCK_EX):
            yield

    def read_history(self) -> History:
        """The epochs so far; what is damaged is left out, and told of.

        The last line of a trial that is not finished may have been cut short by a crash, which is
        no news.

        Raises:
            ConfigurationError: it is of a later version of this program.
            OSError: the file cannot be read now.
        """
        result = self.result.read()
        history, damages = self._scan_history(result)
        if damages:
            more = f" (and {len(damages) - 1} more)" if len(damages) > 1 else ""
            then = "the trial's result counts, its learning curves have gaps"
            if result is None:
                then = f"`sweeps run` goes on after epoch {history.leading} at most"
            tell(self.history, damages[0] + more, then)
        return history

    def _scan_history(self, result: Result | None) -> tuple[History, list[str]]:
        """What is intact of the history, and what is wrong with the rest."""
        total = None if result is None else result.epochs
        try:
            lines = (read_text(self.history) or "").split("\n")
        except DamagedError as error:
            return History([], total=total), [f"damaged ({error})"]
        epochs: list[Epoch] = []
        damages = []
        for number, line in enumerate(lines, start=1):
            is_last = number == len(lines)
            if is_last and not line:
                continue
            try:
                epochs.append(decode(Epoch, line, self.fingerprint))
            except DamagedError as error:
                if not is_last:  # that one was perhaps cut short by a crash
                    damages.append(f"line {number} is damaged ({error})")
            except NewerError as error:
                raise ConfigurationError(f"{self.history}: {error}; update it") from error
        history = History(epochs, total=total)
        if len(history) < len(epochs):
            damages.append("an epoch stands there twice")
        if not history.is_whole:
            damages.append(
                f"epoch {history.leading + 1} is missing"
                if result is None
                else f"of {result.epochs} epochs there are {len(history)}"
            )
        return history, damages

    def append_history(self, epoch: Epoch) -> None:
        """Add an epoch."""
        with self.history.open("a", encoding="utf-8") as file:
            file.write(encode(epoch, self.fingerprint) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind_history(self, epoch: int) -> None:
        """Keep the first `epoch` epochs: those that a checkpoint stands behind.

        A damaged file is set aside.
        """
        history, damages = self._scan_history(None)
        if damages:
            set_aside(self.history)
        lines = [
            encode(record, self.fingerprint) + "\n" for record in history if record.epoch <= epoch
        ]
        write_atomically(self.history, "".join(lines))

    def intact_weights(self) -> Path:
        """The file of the finished network; there may be none.

        Raises:
            ConfigurationError: it is damaged, or another trial's.
            OSError: it cannot be read now.
        """
        result = self.result.read()
        if not os.path.lexists(self.weights):
            return self.weights
        if result is None or not result.weights_sha256:  # an older one
            require_intact_archive(self.weights)
        elif self.weights.is_dir() or _sha256(self.weights) != result.weights_sha256:
            raise ConfigurationError(
                f"{self.weights}: damaged, or another trial's; to train that trial again, remove "
                f"its {self.result.path.name}"
            )
        return self.weights

    def is_done(self) -> bool:
        """Whether there is nothing to train: it has finished, and its network is there."""
        state = self.state()
        if state is not TrialState.COMPLETE:
            return state.is_finished
        try:
            return self.intact_weights().exists()
        except ConfigurationError:
            return False

    def clear(self) -> None:
        """Before it is trained: remove what an earlier attempt has said of its end.

        What is damaged is set aside, and so are the result and the network of a trial that is not
        done.
        """
        for path in self.path.glob("*.*"):
            if path.suffix in (".json", ".jsonl", ".pt") and path.is_dir():
                set_aside(path)
        if self.result.exists():
            for path in (self.result.path, self.weights):
                if os.path.lexists(path):
                    set_aside(path)
        for file in (self.failure, self.stopped):
            file.remove()


_MARK_DIGITS = 32


class Storage:
    """A folder, shared by all machines of a cluster, that holds everything sweeps leave behind."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def require_writable(self) -> None:
        """Make the folder; from now on, what this process makes is its group's if the folder is.

        Raises:
            ConfigurationError: it cannot be made or written to.
        """
        what = f"--storage {self.root}"
        try:
            adopt_group(self.root)
            for folder in (self.root, self.root / "trials", self.root / "ray"):
                folder.mkdir(parents=True, exist_ok=True)
                require_writable(folder, what)
            for name in (".lock", "mlflow.db", "mlartifacts", "optuna.db"):
                require_writable(self.root / name, what)
            probe = self.root / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigurationError(f"{what}: cannot be written to ({error.strerror})") from error

    def share_databases(self) -> None:
        """Let the group write to databases if it may to the folder: SQLite does not ask."""
        for name in ("mlflow.db", "optuna.db"):
            share(self.root / name)

    def mark(self) -> str:
        """What tells this folder from any other; it is made if it is not there yet.

        Workers on other machines look for it: see `require_mark`. It stays when the folder is
        moved, so that runs of the tracking server are known again.
        """
        file = self.root / ".mark"
        try:
            found = read_text(file) or ""
        except DamagedError:
            found = ""
        if len(found) != _MARK_DIGITS:
            if file.is_dir():
                set_aside(file)
            file.unlink(missing_ok=True)  # damaged
            fresh = self.root / f".mark.{secrets.token_hex(8)}"
            write_atomically(fresh, secrets.token_hex(_MARK_DIGITS // 2))
            try:
                os.link(fresh, file)
            except FileExistsError:  # another driver has made one meanwhile
                pass
            except OSError:  # a file system without hard links
                fresh.replace(file)
            fresh.unlink(missing_ok=True)
            found = read_text(file) or ""
        return found

    def require_mark(self, mark: str) -> None:
        """This folder is the driver's, and not another one under the same path.

        Raises:
            ConfigurationError: it is another one, or not there.
        """
        try:
            found = read_text(self.root / ".mark")
        except DamagedError:
            found = None
        if found != mark:
            raise ConfigurationError(
                f"--storage {self.root}: machine {platform.node()} does not see the driver's "
                "folder there; mount it on all machines under the same path"
            )

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Be the only driver at work on this folder; a driver that dies lets go of it.

        Args:
            shared: let others be at work on it that share it, too.

        Raises:
            ConfigurationError: another one is at work on it.
        """
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        with ExitStack() as stack:
            try:
                stack.enter_context(sharing.locked(self.root / ".lock", how))
            except BlockingIOError as error:
                raise ConfigurationError(
                    f"--storage {self.root}: another `sweeps` command is at work on it; "
                    "wait until it ends, or give another folder"
                ) from error
            except ConfigurationError as error:
                raise ConfigurationError(f"--storage {error}") from error
            yield

    def trial(self, fingerprint: str) -> TrialFolder:
        """A trial's files; nothing is made yet."""
        return TrialFolder(self.root / "trials" / fingerprint)

    @property
    def default_tracking_uri(self) -> str:
        """The embedded MLflow database."""
        return sqlite_uri(self.root / "mlflow.db")

    @property
    def artifacts(self) -> Path:
        """Where the embedded tracking store keeps artifacts."""
        return self.root / "mlartifacts"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
