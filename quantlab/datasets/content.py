"""What a dataset held when it was read, as a short hash: the files may change under their names."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from quantlab.datasets.base import DatasetSpec, Splits

MOST_BYTES = 2**30
"""Files that are more than this together count by their names and sizes."""
MOST_FILES = 200_000
"""Of more files than this, the sizes of `SAMPLED` of them count, evenly spaced."""
SAMPLED = 1000


def content_of(dataset: DatasetSpec, data_dir: Path, splits: Splits | None = None) -> str:
    """Sixteen hexadecimal digits for what a dataset reads; remembered for as long as Python runs.

    It covers all files in the data folder that the dataset names, less hidden ones: their names
    and contents, or names and sizes where they are many (see `MOST_BYTES`, `MOST_FILES`). Of a
    dataset that names no file it covers the images in memory, or where they are not, the labels.

    Args:
        dataset: which.
        data_dir: where datasets lie.
        splits: what has been read of it; without them, nothing is read but files.

    Returns:
        Empty if there is nothing to tell by.
    """
    if dataset.files:
        return _of_files(dataset.files, data_dir.absolute())
    return "" if splits is None else _of_splits(splits)


@lru_cache(maxsize=16)
def _of_files(names: tuple[str, ...], data_dir: Path) -> str:
    files = sorted(file for name in names for file in _files_under(str(data_dir / name)))
    if not files:
        return ""
    digest = hashlib.sha256()
    spacing = len(files) // SAMPLED if len(files) > MOST_FILES else 1
    sizes = {path: os.stat(path).st_size for path in files[::spacing]}
    is_whole = spacing == 1 and sum(sizes.values()) <= MOST_BYTES
    for path in files:
        name = Path(path).relative_to(data_dir).as_posix()
        digest.update(f"{name}\0{sizes.get(path, '')}\0".encode(errors="surrogateescape"))
        if is_whole:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _files_under(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    for folder, inner, files in os.walk(path, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from (os.path.join(folder, name) for name in files if not name.startswith("."))


def _of_splits(splits: Splits) -> str:
    digest = hashlib.sha256()
    for images in (splits.train, splits.validation, splits.test):
        for part in (getattr(images, "pixels", None), images.labels):
            if part is not None:
                digest.update(str(tuple(part.shape)).encode())
                digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
