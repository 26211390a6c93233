"""The code that trains trials, as a small archive that all trials of a command share.

A storage has one file for all trials with the same code, ``sources/<digest>.zip``, and each trial
folder has a hard link to it, ``sources.zip``. So a folder that is copied has its code, and many
trials need no more space than one::

    tiny.py, helpers.py     the user's sweep file, and the modules beside it that it uses
    release/changes.diff    how the code of this package differs from its commit
    left_out.txt            files that are too large, and files in which secrets are hidden
"""

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from quantlab import ConfigurationError
from quantlab.files.partial import partial_of, replacing
from sweeps.printing.secrets import hide

MOST_BYTES = 1_000_000
"""Maximum size of all files together; those that do not fit are left out, the largest first."""
LEFT_OUT = "left_out.txt"
_DIGITS = 16
_DATE = (1980, 1, 1, 0, 0, 0)
"""Equal files give equal archives."""


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of the files, without the largest ones if they are too large.

    Args:
        files: content by path. Passwords and tokens in it are replaced by ``***``.

    Returns:
        The content of a zip file.
    """
    kept, notes, size = {}, [], 0
    for name, content in sorted(files.items(), key=lambda file: (len(file[1]), file[0])):
        if size + len(content) > MOST_BYTES:
            digest = hashlib.sha256(content).hexdigest()
            notes.append(f"{name}: left out, {len(content)} bytes with the SHA-256 {digest}")
            continue
        size += len(content)
        kept[name] = _without_secrets(content)
        if kept[name] != content:
            notes.append(f"{name}: passwords or tokens are replaced by ***")
    if notes:
        kept[LEFT_OUT] = ("\n".join(sorted(notes)) + "\n").encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(kept):
            archive.writestr(zipfile.ZipInfo(name, _DATE), kept[name], zipfile.ZIP_DEFLATED)
    return data.getvalue()


def store(root: Path, files: Mapping[str, bytes]) -> str:
    """Write the archive of the files to a storage, if it does not have it yet.

    Args:
        root: the folder of the storage.
        files: see `archive_of`.

    Returns:
        The digest that names the archive; empty without files.
    """
    if not files:
        return ""
    content = archive_of(files)
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    path = path_of(root, digest)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    return digest


def path_of(root: Path, digest: str) -> Path:
    """Return the path of an archive of a storage."""
    return root / "sources" / f"{digest}.zip"


def give(archive: Path, path: Path) -> None:
    """Let a trial folder have an archive, in place of another one; do nothing if it is missing.

    Args:
        archive: the archive of the storage.
        path: the path in the trial folder.
    """
    if not archive.exists() or (path.exists() and archive.samefile(path)):
        return
    fresh = partial_of(path)
    try:
        os.link(archive, fresh)
    except OSError:  # a file system without hard links, or too many of them
        shutil.copyfile(archive, fresh)
    fresh.replace(path)


def remove_unused(root: Path) -> None:
    """Remove the archives of a storage that no trial folder has a link to.

    No command may train meanwhile, see `Storage.locked`. A trial folder with a copy keeps it.
    """
    for path in (root / "sources").glob("*.zip"):
        if path.stat().st_nlink == 1:
            path.unlink()


def unpack(path: Path, folder: Path) -> list[str]:
    """Unpack an archive of a trial.

    Args:
        path: the archive.
        folder: an empty folder.

    Returns:
        The names of its files.

    Raises:
        ConfigurationError: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # which removes `..` from paths
            return archive.namelist()
    except (zipfile.BadZipFile, EOFError, zipfile.LargeZipFile) as error:
        raise ConfigurationError(f"{path}: is damaged ({error}); give the sweep instead") from error


def _without_secrets(content: bytes) -> bytes:
    with suppress(UnicodeDecodeError):
        return hide(content.decode("utf-8")).encode("utf-8")
    return content
