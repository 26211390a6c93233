"""Folders of images that are sorted into classes: which folders are classes, which files images."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from quantlab.errors import ConfigurationError, brief

_NO_CLASSES = {
    "@eaDir",
    "#recycle",
    "#snapshot",
    "__MACOSX",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
}
"""What storage systems and archives put beside the folders that people make."""

_OTHER_IMAGES = {".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pgm", ".ppm"}
_OTHER_IMAGES |= {".pnm", ".svg", ".tif", ".tiff"}
"""Suffixes of image files, some of which a dataset may not read."""


def class_names(root: Path) -> list[str]:
    """The sub-folders of a folder in alphabetical order, less hidden ones and systems' own.

    Raises:
        ConfigurationError: there is none, or no such folder.
    """
    names = sorted(entry.name for entry in _entries(str(root)) if entry.is_dir())
    if not names:
        raise ConfigurationError(f"{root}: no class folders in it")
    return names


def labelled_files(
    root: Path,
    classes: Sequence[str],
    suffixes: frozenset[str],
    *,
    nested: bool,
    may_lack: bool = False,
) -> list[tuple[str, int]]:
    """Image files with their labels, class after class; hidden files (``._1.jpg``) are none.

    Args:
        root: the folder of the class folders.
        classes: names, by label.
        suffixes: of files that can be read, in lower case; those of the files may be in any.
        nested: whether images in folders within a class folder belong to the class.
        may_lack: whether a class may have no images.

    Returns:
        Paths and labels; of a class those of a folder together, by name.

    Raises:
        ConfigurationError: a class has no image, or one that would be left out: with another
            suffix, or in a folder within the folder if those are not read.
    """
    found = []
    for label, name in enumerate(classes):
        paths = _images(root / name, suffixes, nested=nested) if (root / name).is_dir() else []
        if not paths and not may_lack:
            raise ConfigurationError(
                f"{root / name}: no images in it ({', '.join(sorted(suffixes))}); every class "
                "needs some, and a folder that is no class must not lie there"
            )
        found += [(path, label) for path in paths]
    if not found:
        raise ConfigurationError(f"{root}: no images ({', '.join(sorted(suffixes))}) in it")
    return found


def _images(folder: Path, suffixes: frozenset[str], *, nested: bool) -> list[str]:
    found, others = [], []
    for inner, paths in sorted(_files_by_folder(str(folder))):
        for path in sorted(paths):
            suffix = os.path.splitext(path)[1].lower()
            if suffix not in suffixes:
                others += [path] if suffix in _OTHER_IMAGES else []
            elif nested or inner == str(folder):
                found.append(path)
            else:
                raise ConfigurationError(
                    f"{path}: lies in a folder within the folder of its class, "
                    f"{brief(folder.name)}; must lie in that itself"
                )
    if others:
        raise ConfigurationError(
            f"{others[0]}: is not read, and neither are {len(others) - 1} more in {folder}; must "
            f"be one of {', '.join(sorted(suffixes))}; convert it or take it away"
        )
    return found


def _files_by_folder(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Of a folder and all folders in it, the files that are not hidden."""
    files = []
    for entry in _entries(folder):
        if not entry.is_dir():  # also a link to nothing, which then cannot be read
            files.append(entry.path)
        elif entry.is_symlink() and Path(folder).resolve().is_relative_to(os.path.realpath(entry)):
            raise ConfigurationError(f"{entry.path}: is a link to a folder that it lies in")
        else:
            yield from _files_by_folder(entry.path)
    yield folder, files


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.name not in _NO_CLASSES
            ]
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be read ({error.strerror})") from error
