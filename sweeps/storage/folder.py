"""Storage and TrialFolder: the folder of all results, with a folder for each trial.

The trial folders determine the state of all trials. MLflow's records are derived from them::

    <storage>/trials/<fingerprint>/recipe.json     canonical JSON of the recipe
                                   history.jsonl   one line per epoch
                                   checkpoint.pt   the last saved state
                                   checkpoint.previous.pt  the state saved before it
                                   *.damaged       damaged files, and files of another recipe
                                   result.json     exists once the trial has finished
                                   failure.json    exists while the last attempt has failed
                                   stopped.json    exists while a study has pruned the trial
                                   running.json    the command that trains the trial, while it does
                                   attempts.jsonl  attempts without a result, see `spending`
                                   weights.pt      the finished network
                                   sources.zip     the user's code, see `source_archive`
                                   delivery.json   what the tracking server has of the trial
                                   output.txt      what the trial printed, if it did
                                   .lock           locked by the process that trains the trial
    <storage>/mlflow.db, mlartifacts/              the default tracking store
    <storage>/sources/                             the code of all trials
    <storage>/control/                             requests to commands, see `sweeps.control`
    <storage>/deciding/                            trials added to sweeps, see `sweeps.deciding`
    <storage>/ray/                                 files of Ray Tune
    <storage>/.mark                                identifies the folder to workers and MLflow runs
"""

import fcntl
import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.training.checkpoint import require_intact_archive, set_aside
from sweeps.file_system.probe import not_writable, require_usable
from sweeps.storage import sharing
from sweeps.storage.damage import warn_of_damage
from sweeps.storage.record_files import RecordFile, read_text, write_atomically
from sweeps.storage.records import Delivered, Epoch, Failure, History, Result, Running, Stopped
from sweeps.storage.records import TrialState as TrialState
from sweeps.storage.sealed_json import DamagedError, NewerError, decode, encode
from sweeps.storage.sharing import adopt_group, require_writable, share
from sweeps.storage.sqlite_uri import sqlite_uri


class TrialFolder:
    """The files of one trial. Files are replaced as a whole; the history is appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.history = path / "history.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self.weights = path / "weights.pt"
        self.sources = path / "sources.zip"
        self.result = RecordFile(
            path / "result.json",
            Result,
            if_damaged="it is ignored; run `sweeps run` to train the trial again",
        )
        self.failure = RecordFile(
            path / "failure.json",
            Failure,
            if_damaged="the reason for which the trial failed is unknown",
        )
        self.stopped = RecordFile(
            path / "stopped.json", Stopped, if_damaged="the study that pruned the trial is unknown"
        )
        self.running = RecordFile(
            path / "running.json",
            Running,
            if_damaged="it is unknown which command trains the trial",
        )
        self.delivery = RecordFile(
            path / "delivery.json",
            Delivered,
            if_damaged="the trial is compared with the tracking server again",
        )

    @property
    def fingerprint(self) -> str:
        """The identity of the trial, which is the name of its folder."""
        return self.path.name

    def output_of(self, rank: int) -> Path:
        """Return the file of what a process of the trial printed; see `sweeps.storage.output`.

        Args:
            rank: number of the process among those that train the trial together.
        """
        return self.path / (f"output.{rank}.txt" if rank else "output.txt")

    def make(self) -> None:
        """Create the folder if it does not exist; a file in its place is set aside."""
        if (self.path.is_symlink() and not self.path.exists()) or self.path.is_file():
            set_aside(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def sibling(self, fingerprint: str) -> "TrialFolder":
        """Return the folder of another trial of the same storage."""
        return TrialFolder(self.path.parent / fingerprint)

    def state(self) -> TrialState:
        """Return the state of the trial, from the files that exist and from the lock."""
        if result := self.result.read():
            return result.state
        if self.failure.exists():
            return TrialState.FAILED
        if self.stopped.exists():
            return TrialState.STOPPED
        if not self.recipe.exists():
            return TrialState.WAITING
        return TrialState.RUNNING if self.is_locked() else TrialState.INTERRUPTED

    @contextmanager
    def locked(self, name: str = ".lock") -> Iterator[None]:
        """Hold the lock of the trial, after waiting for a process that holds it.

        Args:
            name: name of the lock file: the default for training, another name for other purposes.
        """
        with sharing.locked(self.path / name, fcntl.LOCK_EX):
            yield

    def is_locked(self) -> bool:
        """Whether a process holds the lock for training."""
        return sharing.is_held(self.path / ".lock")

    def locked_at_once(self) -> AbstractContextManager[object] | None:
        """Hold the lock for training; None if another process holds it."""
        return sharing.lock_at_once(self.path / ".lock")

    def trained_by(self) -> Running | None:
        """Return the command that trains the trial now; None if none does or it is unknown."""
        return self.running.read() if self.state() is TrialState.RUNNING else None

    def read_history(self) -> History:
        """Return the intact epochs, and warn about damaged ones.

        There is no warning about the last line of an unfinished trial, which a crash may have
        truncated.

        Raises:
            ConfigurationError: a later version of this program wrote the file.
            OSError: the file cannot be read now.
        """
        result = self.result.read()
        history, damages = self._scan_history(result)
        if damages:
            more = f" (and {len(damages) - 1} more)" if len(damages) > 1 else ""
            consequence = "the result of the trial is valid, but its learning curves have gaps"
            if result is None:
                consequence = f"`sweeps run` continues after epoch {history.leading} or earlier"
            warn_of_damage(self.history, damages[0] + more, consequence)
        return history

    def _scan_history(self, result: Result | None) -> tuple[History, list[str]]:
        """Return the intact epochs, and a description of each damage."""
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
                if not is_last:  # a crash may have truncated the last line
                    damages.append(f"line {number} is damaged ({error})")
            except NewerError as error:
                raise ConfigurationError(f"{self.history}: {error}") from error
        history = History(epochs, total=total)
        if len(history) < len(epochs):
            damages.append("an epoch occurs more than once")
        if not history.is_whole:
            damages.append(
                f"epoch {history.leading + 1} is missing"
                if result is None
                else f"has {len(history)} of {result.epochs} epochs"
            )
        return history, damages

    def append_history(self, epoch: Epoch) -> None:
        """Append an epoch to the history; see `sync_history`."""
        with self.history.open("a", encoding="utf-8") as file:
            file.write(encode(epoch, self.fingerprint) + "\n")

    def sync_history(self) -> None:
        """Write the history to the disk, before a checkpoint or a result that refers to it.

        After a power failure, epochs since then are trained again, as they are since the last
        checkpoint. Waiting for the disk after each short epoch would take as long as the epoch.
        """
        with suppress(FileNotFoundError), self.history.open("rb") as file:
            os.fsync(file.fileno())

    def rewind_history(self, epoch: int) -> None:
        """Keep the first `epoch` epochs, those up to a checkpoint. A damaged file is set aside."""
        history, damages = self._scan_history(None)
        if damages:
            set_aside(self.history)
        lines = [
            encode(record, self.fingerprint) + "\n" for record in history if record.epoch <= epoch
        ]
        write_atomically(self.history, "".join(lines))

    def intact_weights(self) -> Path:
        """Return the path of the finished network, which may not exist.

        Raises:
            ConfigurationError: the file is damaged, or belongs to another trial.
            OSError: the file cannot be read now.
        """
        result = self.result.read()
        if not os.path.lexists(self.weights):
            return self.weights
        if result is None or not result.weights_sha256:  # an older version wrote the result
            require_intact_archive(self.weights)
        elif self.weights.is_dir() or _sha256(self.weights) != result.weights_sha256:
            raise ConfigurationError(
                f"{self.weights}: is damaged, or belongs to another trial; to train the trial "
                f"again, remove {self.result.path.name} beside it"
            )
        return self.weights

    def is_done(self) -> bool:
        """Whether the trial has finished and, if it is complete, its network is intact."""
        state = self.state()
        if state is not TrialState.COMPLETE:
            return state.is_finished
        try:
            return self.intact_weights().exists()
        except ConfigurationError:
            return False

    def clear(self) -> None:
        """Remove, before training, the records of how an earlier attempt ended.

        Damaged files are set aside, and so are the result and the network of a trial that is not
        done.
        """
        for path in self.path.glob("*.*"):
            if path.suffix in (".json", ".jsonl", ".pt", ".txt") and path.is_dir():
                set_aside(path)
        if self.result.exists():
            for path in (self.result.path, self.weights):
                if os.path.lexists(path):
                    set_aside(path)
        for file in (self.failure, self.stopped):
            file.remove()
        theirs = tuple(f".{file.path.name}." for file in (self.failure, self.delivery))
        for path in self.path.glob(".*.partial"):  # left by a process that died while it wrote
            if not path.name.startswith(theirs):  # which the driver may be writing now
                path.unlink(missing_ok=True)


_MARK_DIGITS = 32


class Storage:
    """The folder of all results of sweeps, which all machines of a cluster share."""

    def __init__(self, root: Path) -> None:
        given, plain = root.absolute(), Path(os.path.normpath(root.absolute()))
        # After a symbolic link, `..` is not the folder that the path names before it.
        is_same = os.path.realpath(plain) == os.path.realpath(given)
        self.root = plain if is_same else given

    def require_writable(self) -> None:
        """Create the folder and its parts, and check that this process can write to them.

        If the group may write to the folder, it may also write to the files that this process
        creates from now on.

        Raises:
            ConfigurationError: the folder cannot be created or written to, or see `require_usable`.
        """
        what = f"--storage {self.root}"
        try:
            adopt_group(self.root)
            for folder in (self.root, self.root / "trials", self.root / "ray"):
                folder.mkdir(parents=True, exist_ok=True)
                require_writable(folder, what)
            for name in (".lock", "mlflow.db", "mlartifacts", "optuna.db"):
                require_writable(self.root / name, what)
        except OSError as error:
            raise ConfigurationError(f"{what}: {not_writable(self.root, error)}") from error
        require_usable(self.root, what)

    def share_databases(self) -> None:
        """Let the group write to databases if it may write to the folder; SQLite does not do so."""
        for name in ("mlflow.db", "optuna.db"):
            share(self.root / name)

    def mark(self) -> str:
        """Return the random text that identifies this folder, and create it if it does not exist.

        Workers on other machines compare it: see `require_mark`. It remains when the folder is
        moved, so that runs of the tracking server can still be assigned to it.
        """
        file = self.root / ".mark"
        if not (found := _mark_in(file)):
            with sharing.locked(self.root / ".mark.lock", fcntl.LOCK_EX):
                if not (found := _mark_in(file)):  # and no other command has made one meanwhile
                    if file.is_dir():
                        set_aside(file)
                    found = secrets.token_hex(_MARK_DIGITS // 2)
                    write_atomically(file, found)
        return found

    def require_mark(self, mark: str) -> None:
        """Check that this is the folder of the driver, and not another one with the same path.

        Args:
            mark: the mark that the driver reads.

        Raises:
            ConfigurationError: it is another folder, or does not exist.
        """
        try:
            found = read_text(self.root / ".mark")
        except DamagedError:
            found = None
        if found != mark:
            raise ConfigurationError(
                f"--storage {self.root}: machine {platform.node()} does not see the driver's "
                "folder; mount it under this path on all machines"
            )

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of the folder, which is released if the process dies.

        Args:
            shared: whether other processes may hold the lock too, if they share it. All commands
                that train do; the locks of the trials keep them apart.

        Raises:
            ConfigurationError: another process holds the lock.
        """
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        with ExitStack() as stack:
            try:
                stack.enter_context(sharing.locked(self.root / ".lock", how))
            except BlockingIOError as error:
                raise ConfigurationError(
                    f"--storage {self.root}: another `sweeps` command uses it; wait until that "
                    "command ends, or give another folder"
                ) from error
            except ConfigurationError as error:
                raise ConfigurationError(f"--storage {error}") from error
            yield

    def trial(self, fingerprint: str) -> TrialFolder:
        """Return the folder of a trial, which may not exist yet."""
        return TrialFolder(self.root / "trials" / fingerprint)

    def has_finished(self, fingerprint: str) -> bool:
        """Return whether a trial has finished."""
        return self.trial(fingerprint).state().is_finished

    @property
    def default_tracking_uri(self) -> str:
        """The URI of the embedded MLflow database."""
        return sqlite_uri(self.root / "mlflow.db")

    @property
    def artifacts(self) -> Path:
        """The folder of the artifacts of the embedded tracking store, without symbolic links."""
        return self.root.resolve() / "mlartifacts"


def _mark_in(file: Path) -> str:
    """Return the mark in a file; empty if there is none, or if it is damaged."""
    try:
        found = read_text(file) or ""
    except DamagedError:
        return ""
    return found if len(found) == _MARK_DIGITS else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
