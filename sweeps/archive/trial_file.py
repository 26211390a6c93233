"""The file of a trial in an archive: a tar file with the results of the trial, and their digests.

Its files are, in this order::

    contents.json   names, sizes and SHA-256 of the other files
    result.json     as in the trial folder, and so are all others
    recipe.json
    history.jsonl
    attempts.jsonl  if there were attempts without a result
    sources.zip     the user's code, if there is any
    weights.pt      the finished network, unless the trial has diverged

What a trial printed and its state on the tracking server stay in the storage.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from quantlab import ConfigurationError
from quantlab.files.partial import partial_of
from quantlab.training.checkpoint import remove_checkpoints, set_aside
from sweeps.spending.attempts import keep_all_of, keep_earlier
from sweeps.storage.folder import TrialFolder, TrialState
from sweeps.storage.records import Result
from sweeps.storage.sealed_json import DamagedError, decode, encode

_CONTENTS, _RESULT, _WEIGHTS = "contents.json", "result.json", "weights.pt"
_ATTEMPTS = "attempts.jsonl"
_NEEDED = (_RESULT, "recipe.json", "history.jsonl")
"""Files that each finished trial has."""
_FILES = (*_NEEDED, _ATTEMPTS, "sources.zip", _WEIGHTS)
_DIGITS = 16
_BLOCK_BYTES = 1 << 20
_MOST_BYTES_OF_RECORD = 64 << 20


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """A file of a trial."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The files of a trial: ``contents.json``."""

    VERSION: ClassVar[int] = 1
    files: tuple[PackedFile, ...]


class TrialFile:
    """The file of a finished trial, before it is written to an archive."""

    def __init__(self, folder: TrialFolder) -> None:
        """Read what a finished trial has.

        Args:
            folder: the folder of the trial.

        Raises:
            ConfigurationError: the trial has not finished, or a file is missing or damaged.
            OSError: a file cannot be read now.
        """
        self._folder = folder
        result = folder.result.read()
        if result is None:
            raise ConfigurationError(f"{folder.result.path}: is missing or damaged")
        self.digest = digest_of(folder)
        """Identifies the training of the trial."""
        for path in (folder.path / name for name in _NEEDED):
            if not path.is_file():
                raise ConfigurationError(f"{path}: is missing")
        folder.read_history()  # which warns of damage
        self._small = {
            name: (folder.path / name).read_bytes()
            for name in _FILES
            if name != _WEIGHTS and (name in _NEEDED or (folder.path / name).exists())
        }
        files = [
            PackedFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in self._small.items()
        ]
        self._weights: Path | None = None
        if result.state is TrialState.COMPLETE:
            self._weights = folder.intact_weights()
            if not self._weights.exists():
                raise ConfigurationError(f"{self._weights}: is missing")
            with self._weights.open("rb") as file:
                sha256 = result.weights_sha256 or hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
            files.append(PackedFile(name=_WEIGHTS, bytes=size, sha256=sha256))
        contents = encode(Contents(files=tuple(files)), folder.fingerprint, indent=1) + "\n"
        self._small = {_CONTENTS: contents.encode(), **self._small}
        sizes = [len(self._small[_CONTENTS]), *(file.bytes for file in files)]
        blocks = sum(tarfile.BLOCKSIZE + _padded(size, tarfile.BLOCKSIZE) for size in sizes)
        self.num_bytes = _padded(blocks + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)
        """Size of the tar file."""

    def write(self, stream: BinaryIO) -> None:
        """Write the tar file; equal trial folders give equal files."""
        with tarfile.open(
            fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK_BYTES
        ) as tar:
            for name, content in self._small.items():
                tar.addfile(_entry(name, len(content)), io.BytesIO(content))
            if self._weights is not None:
                with self._weights.open("rb") as file:
                    tar.addfile(_entry(_WEIGHTS, os.fstat(file.fileno()).st_size), file)


def digest_of(folder: TrialFolder) -> str:
    """Return the digest of a result: equal for the same training of a trial only."""
    return _digest(folder.result.path.read_bytes())


def read_result(stream: BinaryIO, fingerprint: str, digest: str, *, fully: bool = False) -> Result:
    """Return the result at the beginning of the file of a trial.

    Args:
        stream: the file.
        fingerprint: the trial whose file it should be.
        digest: the digest of its result, as `digest_of` returns it.
        fully: whether to read and check the other files too.

    Raises:
        DamagedError: the file is damaged, or is that of another trial or result.
    """
    result: Result | None = None
    names = set()
    with _damage_told(), tarfile.open(fileobj=stream, mode="r|") as tar:
        for packed, content in _checked(tar, fingerprint):
            names.add(packed.name)
            if packed.name == _RESULT:
                result = _result(b"".join(content), fingerprint, digest)
                if not fully:
                    return result
            else:
                for _ in content:
                    pass
    return _require_whole(result, names)


def unpack(stream: BinaryIO, folder: TrialFolder, digest: str) -> Result:
    """Write the files of a trial to its folder, the result last; the caller holds its lock.

    Nothing changes in the folder unless the whole file is intact. Attempts to train the trial that
    the folder has are kept, as they were paid for.

    Args:
        stream: the file.
        folder: the folder of the trial, which exists.
        digest: the digest of its result.

    Raises:
        DamagedError: the file is damaged, or is that of another trial or result.
        OSError: the folder cannot be written to.
    """
    fresh: dict[str, Path] = {}
    result: Result | None = None
    try:
        with (
            _damage_told(),
            tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES) as tar,
        ):
            for packed, content in _checked(tar, folder.fingerprint):
                path = partial_of(folder.path / packed.name)
                fresh[packed.name] = path
                with path.open("wb") as file:
                    for block in content:
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
                if packed.name == _RESULT:
                    result = _result(path.read_bytes(), folder.fingerprint, digest)
        result = _require_whole(result, fresh)
        keep_earlier(folder)
        if _ATTEMPTS in fresh:
            if (folder.path / _ATTEMPTS).is_dir():
                set_aside(folder.path / _ATTEMPTS)
            keep_all_of(folder, fresh[_ATTEMPTS])
            fresh.pop(_ATTEMPTS).unlink()
        for name in reversed(_FILES):
            if name in fresh:
                if (folder.path / name).is_dir():
                    set_aside(folder.path / name)
                fresh.pop(name).replace(folder.path / name)
        for record in (folder.failure, folder.stopped):
            record.remove()
        remove_checkpoints(folder.checkpoint)
    finally:
        for path in fresh.values():
            path.unlink(missing_ok=True)
    return result


def _checked(
    tar: tarfile.TarFile, fingerprint: str
) -> Iterator[tuple[PackedFile, Iterator[bytes]]]:
    """Yield each file with its content in blocks, which is checked when the last block is read."""
    first = tar.next()
    if first is None or first.name != _CONTENTS or first.size > _MOST_BYTES_OF_RECORD:
        raise DamagedError(f"{_CONTENTS} is missing")
    text = _opened(tar, first).read().decode("utf-8")
    contents = decode(Contents, text.removesuffix("\n"), fingerprint)
    names = [packed.name for packed in contents.files]
    if len(set(names)) < len(names) or not set(names) <= set(_FILES) or names[:1] != [_RESULT]:
        raise DamagedError(f"has other files than those of a trial: {', '.join(names):.80}")
    for packed in contents.files:
        entry = tar.next()
        if entry is None or entry.name != packed.name or entry.size != packed.bytes:
            raise DamagedError(f"{packed.name} is missing or truncated")
        yield packed, _blocks(_opened(tar, entry), packed)


def _require_whole(result: Result | None, names: Collection[str]) -> Result:
    """Require the files that every trial has, and the network of a complete one."""
    needed = set(_NEEDED)
    if result is not None and result.state is TrialState.COMPLETE:
        needed.add(_WEIGHTS)
    if missing := needed - set(names):
        raise DamagedError(f"{min(missing)} is missing")
    assert result is not None
    return result


def _blocks(file: BinaryIO, packed: PackedFile) -> Iterator[bytes]:
    found = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        found.update(block)
        yield block
    if found.hexdigest() != packed.sha256:
        raise DamagedError(f"{packed.name} was changed after it was written")


def _opened(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> BinaryIO:
    file = tar.extractfile(entry)
    if file is None:
        raise DamagedError(f"{entry.name:.40} is not a file")
    return file  # type: ignore[return-value]


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except DamagedError:
        raise
    except tarfile.TarError as error:
        raise DamagedError(f"truncated, or not a tar file: {error}") from error
    except UnicodeDecodeError as error:
        raise DamagedError("not UTF-8") from error


def _result(content: bytes, fingerprint: str, digest: str) -> Result:
    if _digest(content) != digest:
        raise DamagedError(f"its name is that of another {_RESULT}")
    return decode(Result, content.decode("utf-8").removesuffix("\n"), fingerprint)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to
