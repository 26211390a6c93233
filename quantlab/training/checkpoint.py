"""Checkpoint files: written whole or not at all, and refused by another recipe."""

import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch
from torch import Tensor

from quantlab.errors import (
    ConfigurationError,
    MemoryExhaustedError,
    naming_exhausted_memory,
)

VERSION = 2


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file such that a reader finds the old content or the new one, never half of it.

    Args:
        path: of the file; it is replaced at the end of the block, unless the block fails.

    Yields:
        A file to write the new content to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_atomically(path: Path, content: object) -> None:
    """`torch.save` such that a reader finds the old file or the new one, never half."""
    with replacing(path) as file:
        torch.save(content, file)


def previous_checkpoint(path: Path) -> Path:
    """Where `save_checkpoint` keeps the checkpoint that it replaced."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str) -> None:
    """Write a training state atomically, and keep the one before.

    For a moment there is only the previous one, which `load_last_good` then takes.
    """
    fresh = path.with_name(f"{path.stem}.next{path.suffix}")
    save_atomically(fresh, {"version": VERSION, "fingerprint": fingerprint, "state": dict(state)})
    if path.exists():
        path.replace(previous_checkpoint(path))
    fresh.replace(path)


def load_checkpoint(path: Path, *, fingerprint: str) -> dict[str, Any]:
    """The training state of a file.

    Raises:
        OSError: the file cannot be read now; FileNotFoundError if there is none.
        MemoryExhaustedError: memory does not hold it.
        ConfigurationError: the file is damaged, of another version, or of another recipe.
    """
    try:
        with naming_exhausted_memory(f"loading checkpoint {path}"):
            data = path.read_bytes()  # what the file system refuses says nothing of the content
            _require_intact(io.BytesIO(data))
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except IsADirectoryError as error:
        raise ConfigurationError(f"checkpoint {path}: a folder") from error
    except (OSError, MemoryExhaustedError):
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ConfigurationError(f"checkpoint {path}: damaged ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ConfigurationError(f"checkpoint {path}: not of version {VERSION}")
    if content["fingerprint"] != fingerprint:
        raise ConfigurationError(
            f"checkpoint {path}: belongs to trial {content['fingerprint']}, not to {fingerprint}"
        )
    state: dict[str, Any] = content["state"]
    return state


def require_intact_archive(path: Path) -> None:
    """Make sure that a file of `torch.save` is as it was written, which torch itself does not.

    Raises:
        OSError: the file cannot be read now; FileNotFoundError if there is none.
        ConfigurationError: it is damaged.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise ConfigurationError(f"{path}: a folder") from error
    try:
        _require_intact(io.BytesIO(data))
    except Exception as error:  # zipfile raises many kinds for a damaged file
        raise ConfigurationError(f"{path}: damaged ({type(error).__name__})") from error


def _require_intact(file: IO[bytes]) -> None:
    """Check the sums that the archive has of its parts."""
    with zipfile.ZipFile(file) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(name)


def load_last_good(
    path: Path, *, fingerprint: str, most_epochs: int | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest training state that can be used.

    A file that is refused is renamed to ``*.damaged``, so that the next checkpoint does not put it
    in the place of a good one.

    Args:
        path: the checkpoint; the one before it is looked for beside it.
        fingerprint: of the recipe that goes on.
        most_epochs: a state that is further is refused, since the records of its epochs are lost;
            None for no such limit.

    Returns:
        The state, None if there is none; and what was wrong with the files that were refused.

    Raises:
        OSError: a file is there but cannot be read now.
        MemoryExhaustedError: memory does not hold it.
    """
    refused: list[str] = []
    for candidate in (path, previous_checkpoint(path)):
        try:
            state = load_checkpoint(candidate, fingerprint=fingerprint)
            if most_epochs is not None and state["epoch"] > most_epochs:
                raise ConfigurationError(
                    f"checkpoint {candidate}: of {state['epoch']} epochs, of which the records of "
                    f"only {most_epochs} are there"
                )
            return state, refused
        except FileNotFoundError:
            continue
        except ConfigurationError as error:
            refused.append(str(error))
            set_aside(candidate)
    return None, refused


def remove_checkpoints(path: Path) -> None:
    """Remove a checkpoint, the one before it, and what a crash left half-written."""
    for file in (path, *path.parent.glob(f"{path.stem}.*{path.suffix}")):
        file.unlink(missing_ok=True)
    for file in path.parent.glob(f".{path.stem}.*.partial"):
        file.unlink(missing_ok=True)


SET_ASIDE = ".damaged"
"""Ending of what is of no use, and is kept for people to look at."""


def set_aside(path: Path) -> None:
    """Rename a file or folder to ``*.damaged``, in place of what has that name."""
    target = path.with_name(path.name + SET_ASIDE)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    path.rename(target)


def own_copy(value: Any) -> Any:
    """A deep copy of a training state, in which no tensor is a view of a larger one.

    A view would bring all of the larger one into the file.
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: own_copy(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(own_copy, value))
    return deepcopy(value)
