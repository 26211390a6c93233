"""A hash of the content of a dataset, because files may change under the same name."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from quantlab.datasets.base import DatasetSpec, Splits

MOST_BYTES = 2**30
"""Total size above which only the names and sizes of files are hashed."""
MOST_FILES = 200_000
"""Number of files above which only the sizes of `SAMPLED` evenly spaced files are hashed."""
SAMPLED = 1000


def content_of(dataset: DatasetSpec, data_dir: Path, splits: Splits | None = None) -> str:
    """Return a hash of what a dataset reads. The result is cached until the process ends.

    The hash covers the names and contents of all files of the dataset in the data folder, except
    hidden files. If they are large or many, it covers names and sizes (see `MOST_BYTES` and
    `MOST_FILES`). For a dataset without files it covers the images in memory, or only the labels if
    the images are not in memory.

    Args:
        dataset: the dataset.
        data_dir: the data folder.
        splits: loaded splits of a dataset without files; None to hash files only.

    Returns:
        Sixteen hexadecimal digits, or "" if there is nothing to hash.
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
