"""NumPy arrays in files of the data folder: ``.npy`` files and members of ``.npz`` files."""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantlab.datasets.loading.files import require_relative
from quantlab.errors import ConfigurationError, brief, first_line

LARGE = 2**30
"""Bytes above which an array stays in its file, and is read batch by batch."""

_AS_TORCH_HAS = {"u2": "i4", "u4": "i8", "u8": "i8"}
"""Types that torch computes little with, and those into which they are converted."""

_ROWS_AT_ONCE = 2**24
"""Number of elements that a check looks at together."""


def require_array_name(owner: object, field: str) -> None:
    """Check that a field names an array: ``"x.npy"``, or ``"data.npz:x"`` for a member of a file.

    Args:
        owner: a dataclass.
        field: name of the field.

    Raises:
        ConfigurationError: if it does not.
    """
    require_relative(owner, field)
    value = getattr(owner, field)
    path, _, member = value.partition(":")
    if path.endswith(".npz") and not member:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must name an array of the file too, "
            f"such as '{path}:x'"
        )
    if not path.endswith((".npy", ".npz")) or (member and path.endswith(".npy")):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be the name of a .npy file, or "
            "that of a .npz file with an array in it, such as 'data.npz:x'"
        )


def file_of(name: str) -> str:
    """Return the file of an array's name."""
    return name.partition(":")[0]


def read_array(data_dir: Path, name: str) -> Tensor:
    """Return an array as a tensor on the CPU. A large ``.npy`` file is mapped into memory.

    Args:
        data_dir: the data folder.
        name: name of the array, see `require_array_name`.

    Raises:
        ConfigurationError: if it cannot be read, if it has no rows, or if it has no numbers.
    """
    path = data_dir / file_of(name)
    array = _opened(path, name.partition(":")[2])
    if array.dtype.kind not in "buif":
        raise ConfigurationError(f"{path}: {name} has the type {array.dtype}; must be numbers")
    if array.ndim == 0 or not len(array):
        raise ConfigurationError(
            f"{path}: {name} has the shape {array.shape}; must have one row per example"
        )
    kind = array.dtype.str[1:]
    if kind == "u8" and (largest := int(array.max(initial=0))) >= 2**63:
        raise ConfigurationError(
            f"{path}: {name} has the number {largest}; must be less than 2^63, so subtract a "
            "constant, or store the numbers as floating-point numbers"
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        kind = "f8"
    return torch.from_numpy(array.astype(_AS_TORCH_HAS.get(kind, kind), copy=False))


def is_large(num_bytes: int) -> bool:
    """Whether an array of so many bytes stays in its file."""
    return num_bytes > LARGE


def rows_at_once(rows: Tensor) -> int:
    """Return how many rows of a large tensor to look at together."""
    return max(1, _ROWS_AT_ONCE // max(1, rows[0].numel()))


def _opened(path: Path, member: str) -> npt.NDArray[Any]:
    if not path.is_file():
        raise ConfigurationError(f"{path}: does not exist; put the file there")
    try:
        if not member:
            # A mapped array could not be replaced while a trial reads it. With "c" it counts as
            # one that can be written to, which torch needs; nothing writes to it.
            mode: Literal["c"] | None = "c" if is_large(path.stat().st_size) else None
            return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))
        with np.load(path, allow_pickle=False) as file:
            if member not in file:
                raise ConfigurationError(
                    f"{path}: has no array {member!r}; must be one of {', '.join(file.files)}"
                )
            return np.asarray(file[member])
    except ConfigurationError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigurationError(
            f"{path}: is not a readable file of NumPy arrays of numbers ({first_line(error)})"
        ) from error
