"""Any folder of images sorted into classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from quantlab.datasets.base import Dimensions
from quantlab.datasets.class_folders import class_names, labelled_files
from quantlab.datasets.files import read_image, require_relative
from quantlab.datasets.in_memory import Images, InMemoryDataset
from quantlab.errors import ConfigurationError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True, kw_only=True)
class ImageFolder(InMemoryDataset):
    """``<folder>/train/<class>/*`` and ``<folder>/test/<class>/*``, all images of one size.

    Classes are the sub-folders of ``train``, in alphabetical order, less hidden ones. Images are
    read as RGB (see `quantlab.datasets.files.read_image`) and kept in memory as a whole; sets
    that do not fit there are not for this class.
    """

    folder: str
    """Name of the folder within the data folder (relative: a recipe holds no path of a machine)."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_relative(self, "folder")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder

    @property
    def num_channels(self) -> int:
        """Three, red, green and blue."""
        return 3

    @property
    def files(self) -> tuple[str, ...]:
        """The one folder."""
        return (self.folder,)

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """The class folders, and the size of one image."""
        if not self._reads_as(ImageFolder):
            return super().find_dimensions(data_dir)
        classes = self._classes(data_dir)
        path, _ = self._files(data_dir, "train", classes)[0]
        width, height = read_image(path).size
        return Dimensions(len(classes), (3, height, width))

    def check(self, data_dir: Path) -> None:
        """Look for the two trees of class folders, and count their images."""
        classes = self._classes(data_dir)
        train, test = (len(self._files(data_dir, split, classes)) for split in ("train", "test"))
        self._check_sizes(train, test)

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """All images of both trees."""
        classes = self._classes(data_dir)
        train, test = (
            _read_files(self._files(data_dir, split, classes)) for split in ("train", "test")
        )
        if train.pixels.shape[1:] != test.pixels.shape[1:]:
            raise ConfigurationError(
                f"{data_dir / self.folder}: train images are {tuple(train.pixels.shape[1:])}, "
                f"test images {tuple(test.pixels.shape[1:])}; all must be of one size"
            )
        return train, test, len(classes)

    def _classes(self, data_dir: Path) -> list[str]:
        root = data_dir / self.folder
        for split in ("train", "test"):
            if not (root / split).is_dir():
                raise ConfigurationError(
                    f"ImageFolder.folder = {self.folder!r}: no folder {root / split}; "
                    "it must hold one sub-folder of images a class"
                )
        train, test = class_names(root / "train"), class_names(root / "test")
        if unknown := sorted(set(test) - set(train)):
            raise ConfigurationError(f"{root / 'test'}: classes {unknown} are not in train")
        return train

    def _files(self, data_dir: Path, split: str, classes: list[str]) -> list[tuple[str, int]]:
        root = data_dir / self.folder / split
        return labelled_files(root, classes, _SUFFIXES, nested=False, may_lack=split == "test")


def _read_files(files: list[tuple[str, int]]) -> Images:
    first = np.asarray(read_image(files[0][0]))
    pixels = np.empty((len(files), *first.shape), dtype=np.uint8)
    for index, (path, _) in enumerate(files):
        image = np.asarray(read_image(path))
        if image.shape != first.shape:
            raise ConfigurationError(
                f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, others are "
                f"{first.shape[1]}x{first.shape[0]}; all must be of one size"
            )
        pixels[index] = image
    labels = torch.tensor([label for _, label in files])
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)
