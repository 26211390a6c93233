"""A hash of the content of a dataset, because files may change under the same name."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from quantlab.datasets.base import DatasetSpec, ImageSet, Splits
from quantlab.datasets.loading.files import files_under, versions_of

MOST_BYTES = 2**30
"""Total size above which only the names and sizes of files are hashed."""
MOST_FILES = 200_000
"""Number of files above which only the sizes of `SAMPLED` evenly spaced files are hashed."""
SAMPLED = 1000
MOST_EXAMPLES = 50_000
"""Number of examples outside of memory above which only `SAMPLED` of each split are hashed."""
_BATCH = 256


def content_of(dataset: DatasetSpec, data_dir: Path, splits: Splits | None = None) -> str:
    """Return a hash of what a dataset reads. That of files is cached in the process.

    It is computed again if a file of the dataset has changed; of a folder, if it has other entries.

    The hash covers the names and contents of all files of the dataset in the data folder, except
    hidden files, and files in its folders that do not match its `file_pattern`. If they are large
    or many, it covers names and sizes (see `MOST_BYTES` and `MOST_FILES`). For a dataset without
    files it covers the examples as evaluation gets them; of more than `MOST_EXAMPLES` that are not
    in memory, it covers `SAMPLED` in each split.

    Args:
        dataset: the dataset.
        data_dir: the data folder.
        splits: loaded splits of a dataset without files; None to hash files only.

    Returns:
        Sixteen hexadecimal digits, or "" if there is nothing to hash.
    """
    if dataset.files:
        versions = versions_of(dataset.files, data_dir)
        return _of_files(dataset.files, data_dir.absolute(), dataset.file_pattern, versions)
    return "" if splits is None else _of_splits(dataset, splits)


def what_is_not_hashed(dataset: DatasetSpec, data_dir: Path, splits: Splits | None = None) -> str:
    """Return what `content_of` leaves out, in words; empty if it covers all of the data.

    Args:
        dataset: see `content_of`.
        data_dir: see `content_of`.
        splits: see `content_of`.
    """
    if not dataset.files:
        return (
            ""
            if splits is None or not _is_sampled(splits)
            else (f"of its {_num_examples(splits)} examples, {SAMPLED} of each split are compared")
        )
    files = [
        file
        for name in dataset.files
        for file in files_under(str(data_dir / name), dataset.file_pattern)
    ]
    if len(files) > MOST_FILES:
        return f"of its {len(files)} files, names and the sizes of {SAMPLED} are compared"
    gibibytes = sum(os.stat(path).st_size for path in files) / 2**30
    if gibibytes * 2**30 > MOST_BYTES:
        return f"of its {gibibytes:.1f} GiB of files, names and sizes are compared"
    return ""


@lru_cache(maxsize=16)
def _of_files(names: tuple[str, ...], data_dir: Path, pattern: str, versions: object) -> str:
    files = sorted(file for name in names for file in files_under(str(data_dir / name), pattern))
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


def _of_splits(dataset: DatasetSpec, splits: Splits) -> str:
    digest = hashlib.sha256()
    for images in (splits.train, splits.validation, splits.test):
        for batch in _batches(dataset, images, is_sampled=_is_sampled(splits)):
            for part in batch:
                digest.update(str(tuple(part.shape)).encode())
                digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _batches(
    dataset: DatasetSpec, images: ImageSet, *, is_sampled: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the examples of a split, or some of them, in batches."""
    pixels = getattr(images, "pixels", None)
    if pixels is not None:
        yield pixels, images.labels
        return
    order = None
    if is_sampled and len(images) > SAMPLED:
        order = torch.linspace(0, len(images) - 1, SAMPLED, dtype=torch.float64).long()
    if len(images):
        yield from dataset.batches(images, batch_size=_BATCH, order=order)


def _is_sampled(splits: Splits) -> bool:
    is_in_memory = getattr(splits.train, "pixels", None) is not None
    return not is_in_memory and _num_examples(splits) > MOST_EXAMPLES


def _num_examples(splits: Splits) -> int:
    return sum(len(images) for images in (splits.train, splits.validation, splits.test))
