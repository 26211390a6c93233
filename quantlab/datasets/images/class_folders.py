"""Folders with one sub-folder of images per class: the class names and the image files."""

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
"""Folders that storage systems and archive programs create. They are not classes."""

_OTHER_IMAGES = {".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pgm", ".ppm"}
_OTHER_IMAGES |= {".pnm", ".svg", ".tif", ".tiff"}
"""Suffixes of image files that a dataset may not be able to read."""


def class_names(root: Path) -> list[str]:
    """Return the sub-folders of a folder in alphabetical order, without hidden and system folders.

    Raises:
        ConfigurationError: if the folder has no such sub-folder, or cannot be read.
    """
    names = sorted(entry.name for entry in _entries(str(root)) if entry.is_dir())
    if not names:
        raise ConfigurationError(f"{root}: must contain one sub-folder of images per class")
    return names


def labelled_files(
    root: Path,
    classes: Sequence[str],
    suffixes: frozenset[str],
    *,
    nested: bool,
    may_lack: bool = False,
) -> list[tuple[str, int]]:
    """Return the image files of all classes with their labels. Hidden files are ignored.

    Args:
        root: folder of the class folders.
        classes: names of the classes, in the order of their labels.
        suffixes: suffixes of files that can be read, in lower case. The case of a file's suffix
            does not matter.
        nested: whether images in sub-folders of a class folder belong to the class.
        may_lack: whether a class may have no images.

    Returns:
        Paths and labels, sorted by class, folder and name.

    Raises:
        ConfigurationError: if a class has no image, or if an image would be left out because of its
            suffix or its sub-folder.
    """
    found = []
    for label, name in enumerate(classes):
        paths = _images(root / name, suffixes, nested=nested) if (root / name).is_dir() else []
        if not paths and not may_lack:
            raise ConfigurationError(
                f"{root / name}: contains no images ({', '.join(sorted(suffixes))}); every class "
                "folder needs at least one, so add images or remove the folder"
            )
        found += [(path, label) for path in paths]
    if not found:
        raise ConfigurationError(f"{root}: contains no images ({', '.join(sorted(suffixes))})")
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
                    f"{path}: is in a sub-folder of its class folder {brief(folder.name)}; move it "
                    "to the class folder itself"
                )
    if others:
        raise ConfigurationError(
            f"{others[0]}: cannot be read, nor can {len(others) - 1} more files in {folder}; must "
            f"be one of {', '.join(sorted(suffixes))}; convert or remove them"
        )
    return found


def _files_by_folder(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and all its sub-folders with their files that are not hidden."""
    files = []
    for entry in _entries(folder):
        if not entry.is_dir():  # a broken link is listed as well, and fails when it is read
            files.append(entry.path)
        elif entry.is_symlink() and Path(folder).resolve().is_relative_to(os.path.realpath(entry)):
            raise ConfigurationError(
                f"{entry.path}: is a link to a folder that contains it; remove the link"
            )
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
