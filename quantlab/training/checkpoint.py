"""Checkpoint files. They are written atomically, and a checkpoint of another recipe is refused."""

import io
import shutil
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import IO, Any

from quantlab.errors import (
    ConfigurationError,
    MemoryExhaustedError,
    naming_exhausted_memory,
)
from quantlab.files.partial import replacing

VERSION = 2


def save_atomically(path: Path, content: object) -> None:
    """Write a file with `torch.save` atomically; see `replacing`.

    Raises:
        OSError: if the file cannot be written, for example because the disk is full.
    """
    import torch

    buffer = io.BytesIO()  # torch replaces an error of a file by one of its own, without the reason
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def previous_checkpoint(path: Path) -> Path:
    """Return the path at which `save_checkpoint` keeps the previous checkpoint."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str) -> None:
    """Write a training state atomically, and keep the previous checkpoint.

    Between the two renames only the previous checkpoint exists; `load_last_good` finds it.

    Args:
        path: file of the checkpoint.
        state: what `TrainingRun.state_dict` returned.
        fingerprint: fingerprint of the recipe.
    """
    fresh = path.with_name(f"{path.stem}.next{path.suffix}")
    save_atomically(fresh, {"version": VERSION, "fingerprint": fingerprint, "state": dict(state)})
    if path.exists():
        path.replace(previous_checkpoint(path))
    fresh.replace(path)


def load_checkpoint(path: Path, *, fingerprint: str) -> dict[str, Any]:
    """Load a training state.

    Args:
        path: file of the checkpoint.
        fingerprint: fingerprint of the recipe.

    Raises:
        OSError: if the file cannot be read now; FileNotFoundError if it does not exist.
        MemoryExhaustedError: if memory does not hold the state.
        ConfigurationError: if the file is damaged, of another version, or of another recipe.
    """
    import torch

    try:
        with naming_exhausted_memory(f"loading checkpoint {path}"):
            data = path.read_bytes()  # an OSError does not mean damage
            _require_intact(io.BytesIO(data))
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except IsADirectoryError as error:
        raise ConfigurationError(f"checkpoint {path}: must be a file, but is a folder") from error
    except (OSError, MemoryExhaustedError):
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ConfigurationError(
            f"checkpoint {path}: the file is damaged ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ConfigurationError(
            f"checkpoint {path}: must be of version {VERSION}, which this release reads"
        )
    if content["fingerprint"] != fingerprint:
        raise ConfigurationError(
            f"checkpoint {path}: belongs to trial {content['fingerprint']}, not to {fingerprint}"
        )
    state: dict[str, Any] = content["state"]
    return state


def require_intact_archive(path: Path) -> None:
    """Check the checksums of a file of `torch.save`, which `torch.load` does not check.

    Raises:
        OSError: if the file cannot be read now; FileNotFoundError if it does not exist.
        ConfigurationError: if the file is damaged.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise ConfigurationError(f"{path}: must be a file, but is a folder") from error
    try:
        _require_intact(io.BytesIO(data))
    except Exception as error:  # zipfile raises many kinds for a damaged file
        raise ConfigurationError(f"{path}: the file is damaged ({type(error).__name__})") from error


def _require_intact(file: IO[bytes]) -> None:
    """Check the checksums of all members of the archive."""
    with zipfile.ZipFile(file) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(name)


def load_last_good(
    path: Path, *, fingerprint: str, most_epochs: int | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Load the newest training state that is intact.

    A file that is refused is renamed to ``*.damaged``, so that the next call of `save_checkpoint`
    does not replace a good checkpoint by it.

    Args:
        path: file of the checkpoint. The previous checkpoint is expected beside it.
        fingerprint: fingerprint of the recipe that is continued.
        most_epochs: largest number of finished epochs that is accepted, because the records of
            further epochs are lost; None for no limit.

    Returns:
        The state, or None if there is none, and a message for each file that was refused.

    Raises:
        OSError: if a file exists but cannot be read now.
        MemoryExhaustedError: if memory does not hold the state.
    """
    refused: list[str] = []
    for candidate in (path, previous_checkpoint(path)):
        try:
            state = load_checkpoint(candidate, fingerprint=fingerprint)
            if most_epochs is not None and state["epoch"] > most_epochs:
                raise ConfigurationError(
                    f"checkpoint {candidate}: has {state['epoch']} finished epochs, but the "
                    f"records of only {most_epochs} exist"
                )
            return state, refused
        except FileNotFoundError:
            continue
        except ConfigurationError as error:
            refused.append(str(error))
            set_aside(candidate)
    return None, refused


def remove_checkpoints(path: Path) -> None:
    """Remove a checkpoint, the previous one, and partial files that a crash has left."""
    for file in (path, *path.parent.glob(f"{path.stem}.*{path.suffix}")):
        file.unlink(missing_ok=True)
    for file in path.parent.glob(f".{path.stem}.*.partial"):
        file.unlink(missing_ok=True)


SET_ASIDE = ".damaged"
"""Suffix of files and folders that cannot be used and are kept for inspection."""


def set_aside(path: Path) -> None:
    """Rename a file or folder to ``*.damaged``, and replace an older one of that name."""
    target = path.with_name(path.name + SET_ASIDE)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    path.rename(target)


def own_copy(value: Any) -> Any:
    """Return a deep copy of a training state in which no tensor is a view of a larger one.

    `torch.save` writes the whole storage of a view.
    """
    from torch import Tensor

    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: own_copy(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(own_copy, value))
    return deepcopy(value)
