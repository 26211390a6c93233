"""Checkpoint files: written whole or not at all, and refused by another recipe."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from quantlab.errors import ConfigurationError

VERSION = 1


def save_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str) -> None:
    """Write a training state atomically: a reader finds the old file or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    content = {"version": VERSION, "fingerprint": fingerprint, "state": dict(state)}
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, *, fingerprint: str) -> dict[str, Any]:
    """The training state of a file.

    Raises:
        OSError: the file cannot be read now; FileNotFoundError if there is none.
        ConfigurationError: the file is damaged, of another version, or of another recipe.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):  # says nothing against the file
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
