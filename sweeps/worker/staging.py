"""Data on the machine that needs it: copied, unpacked or downloaded once, whoever comes first."""

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
"""Whatever the libraries raise for an archive that is none, or only half of one."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""A folder ``NAME`` may lie in the data folder as ``NAME.tar.gz`` and the like."""


def stage(recipe: Recipe, data_dir: Path, scratch: Path | None = None) -> Path:
    """Make a trial's data ready on this machine; returns the folder to read it from.

    Other processes of the machine that ask for the same wait, and find it done.

    Args:
        recipe: the trial's.
        data_dir: where datasets lie, perhaps on a network; archives in it are unpacked.
        scratch: a folder on the machine's own disk that data is copied to and read from; None to
            read it where it lies.

    Raises:
        ConfigurationError: the data is nowhere and cannot be downloaded, or an archive is damaged.
    """
    weights = recipe.initial_weights
    if isinstance(weights, TrialWeights):  # which lie in the storage
        weights = None
    return _stage(recipe.dataset, weights, data_dir, scratch or data_dir)


def check(dataset: DatasetSpec, data_dir: Path) -> None:
    """Before any trial starts: the data is there, or can be downloaded.

    What is there as an archive is checked by the trials, once it is unpacked.

    Raises:
        ConfigurationError: see `DatasetSpec.check`.
    """
    missing = [data_dir / name for name in dataset.files if not (data_dir / name).exists()]
    if not missing or not all(map(_archive, missing)):
        with _alone(data_dir, only_wait=not missing):
            dataset.check(data_dir)


@remembering(16)
def _stage(
    dataset: DatasetSpec, weights: InitialWeights | None, data_dir: Path, target: Path
) -> Path:
    names = (*dataset.files, *(weights.files if weights is not None else ()))
    if target != data_dir:
        target.mkdir(parents=True, exist_ok=True)
    with _alone(target, only_wait=all((target / name).exists() for name in names)):
        for name in names:
            if not (target / name).exists():
                _bring(data_dir / name, target / name)
        dataset.check(target)  # downloads what is nowhere
        if weights is not None:
            weights.check(target, no_other_trials)
    return target


def _bring(source: Path, target: Path) -> None:
    """Copy or unpack; it appears under its name when it is whole."""
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
            raise ConfigurationError(f"{archive}: cannot be unpacked ({error})") from error
        inner = unfinished / target.name  # archives hold the folder itself, or what is in it
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
def _alone(folder: Path, *, only_wait: bool) -> Iterator[None]:
    """Be the only process that brings data to a folder.

    Args:
        folder: if it is not there, or cannot be written to, nothing can be brought to it.
        only_wait: nothing is missing; whoever is at it may finish, and then all go on together.

    Raises:
        ConfigurationError: something is missing, and the file system cannot lock files.
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
