"""Stage datasets: copy, unpack or download them once on each machine that needs them."""

import fcntl
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quantlab import ConfigurationError, Recipe
from quantlab.datasets import DatasetSpec
from quantlab.initial_weights import InitialWeights, TrialWeights, no_other_trials
from quantlab.remembering import remembering
from sweeps.storage.sharing import locked

_DAMAGED = (shutil.ReadError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
"""Errors that the standard library raises for a damaged or truncated archive."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""Suffixes of archives. Instead of a folder ``NAME``, the data folder may hold ``NAME.tar.gz``."""


def stage(recipe: Recipe, data_dir: Path, scratch: Path | None = None) -> Path:
    """Prepare the data of a trial on this machine.

    If several processes of the machine need the same data, one prepares it and the others wait.

    Args:
        recipe: the recipe of the trial.
        data_dir: folder of the datasets, perhaps on a network; archives in it are unpacked.
        scratch: a folder on the local disk, into which data is copied; None to read the data from
            `data_dir`.

    Returns:
        The folder from which to read the data.

    Raises:
        ConfigurationError: the data is missing and cannot be downloaded, or an archive is damaged.
    """
    teacher = None if recipe.distillation is None else recipe.distillation.teacher
    weights = tuple(
        own
        for own in (recipe.initial_weights, teacher)
        if own is not None and not isinstance(own, TrialWeights)  # these are in the storage
    )
    return _stage(recipe.dataset, weights, data_dir, scratch or data_dir)


def check(dataset: DatasetSpec, data_dir: Path) -> None:
    """Check, before any trial starts, that a dataset exists or can be downloaded.

    Trials check a dataset that exists as an archive only after unpacking it.

    Args:
        dataset: the dataset.
        data_dir: folder of the datasets.

    Raises:
        ConfigurationError: see `DatasetSpec.check`.
    """
    missing = [data_dir / name for name in dataset.files if not (data_dir / name).exists()]
    if not missing or not all(map(_archive, missing)):
        with _exclusive(data_dir, only_wait=not missing):
            dataset.check(data_dir)


@remembering(16)
def _stage(
    dataset: DatasetSpec, weights: tuple[InitialWeights, ...], data_dir: Path, target: Path
) -> Path:
    names = (*dataset.files, *(name for one in weights for name in one.files))
    if target != data_dir:
        target.mkdir(parents=True, exist_ok=True)
    with _exclusive(target, only_wait=all((target / name).exists() for name in names)):
        for name in names:
            if not (target / name).exists():
                _fetch(data_dir / name, target / name)
        dataset.check(target)  # downloads missing files
        for one in weights:
            one.check(target, no_other_trials)
    return target


def _fetch(source: Path, target: Path) -> None:
    """Copy or unpack a file or folder under a temporary name, and rename it when it is complete."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, unfinished)
    elif source.is_file():
        shutil.copy2(source, unfinished)
    elif archive := _archive(source):
        try:
            if archive.suffix == ".zip":
                shutil.unpack_archive(archive, unfinished)
            else:
                shutil.unpack_archive(archive, unfinished, filter="data")
        except _DAMAGED as error:
            raise ConfigurationError(
                f"{archive}: cannot be unpacked ({error}); replace the archive"
            ) from error
        inner = unfinished / target.name  # an archive holds either the folder or its content
        if inner.is_dir():
            inner.replace(target)
            shutil.rmtree(unfinished)
            return
    else:
        return
    unfinished.replace(target)


def _archive(path: Path) -> Path | None:
    found = (path.with_name(path.name + suffix) for suffix in ARCHIVES)
    return next((file for file in found if file.is_file()), None)


@contextmanager
def _exclusive(folder: Path, *, only_wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, so that only this process adds data to it.

    Args:
        folder: a folder; if it does not exist or is not writable, no lock is taken.
        only_wait: whether no data is missing; then wait for a process that adds data, and release
            the lock at once.

    Raises:
        ConfigurationError: data is missing, and the file system does not support locks.
    """
    if not os.access(folder, os.W_OK):
        yield
        return
    lock = folder / ".staging.lock"
    if only_wait:
        with suppress(ConfigurationError), locked(lock, fcntl.LOCK_SH):
            pass
        yield
        return
    with locked(lock, fcntl.LOCK_EX):
        yield
