"""ImageFolder: any folder with one sub-folder of images per class."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from quantlab.datasets.base import Dimensions
from quantlab.datasets.images.class_folders import class_names, labelled_files
from quantlab.datasets.images.decoding import read_image
from quantlab.datasets.in_memory import Images, InMemoryDataset
from quantlab.datasets.loading.files import require_relative
from quantlab.errors import ConfigurationError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True, kw_only=True)
class ImageFolder(InMemoryDataset):
    """Images of one size in ``<folder>/train/<class>/*`` and ``<folder>/test/<class>/*``.

    Classes are the sub-folders of ``train`` in alphabetical order, without hidden folders. Images
    are read as RGB (see `quantlab.datasets.images.decoding`) and are all kept in memory. Use
    `ImageNet` for datasets that do not fit in memory.
    """

    is_in_class_order: ClassVar[bool] = True

    folder: str
    """Path of the folder, relative to the data folder."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_relative(self, "folder")

    @property
    def name(self) -> str:
        """Name of the dataset in tables: the path of the folder."""
        return self.folder

    @property
    def num_channels(self) -> int:
        """Number of channels: 3 (red, green and blue)."""
        return 3

    @property
    def files(self) -> tuple[str, ...]:
        """Path of the folder."""
        return (self.folder,)

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Return the dimensions, from the class folders and one image."""
        if not self._reads_as(ImageFolder):
            return super().find_dimensions(data_dir)
        classes = self._classes(data_dir)
        path, _ = self._files(data_dir, "train", classes)[0]
        width, height = read_image(path).size
        return Dimensions(len(classes), (3, height, width))

    def check(self, data_dir: Path) -> None:
        """Check the class folders of both splits, and count their images."""
        classes = self._classes(data_dir)
        train, test = (len(self._files(data_dir, split, classes)) for split in ("train", "test"))
        self._check_sizes(train, test)

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Read all images of both splits."""
        classes = self._classes(data_dir)
        train, test = (
            _read_files(self._files(data_dir, split, classes)) for split in ("train", "test")
        )
        if train.pixels.shape[1:] != test.pixels.shape[1:]:
            raise ConfigurationError(
                f"{data_dir / self.folder}: training images have the shape "
                f"{tuple(train.pixels.shape[1:])}, but test images {tuple(test.pixels.shape[1:])}; "
                "all images must have the same size"
            )
        return train, test, len(classes)

    def _classes(self, data_dir: Path) -> list[str]:
        root = data_dir / self.folder
        for split in ("train", "test"):
            if not (root / split).is_dir():
                raise ConfigurationError(
                    f"ImageFolder.folder = {self.folder!r}: the folder {root / split} does not "
                    "exist; it must contain one sub-folder of images per class"
                )
        train, test = class_names(root / "train"), class_names(root / "test")
        if unknown := sorted(set(test) - set(train)):
            raise ConfigurationError(
                f"{root / 'test'}: the classes {unknown} are not in {root / 'train'}; both must "
                "have the same classes"
            )
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
                f"{path}: has {image.shape[1]}x{image.shape[0]} pixels, but {files[0][0]} has "
                f"{first.shape[1]}x{first.shape[0]}; all images must have the same size"
            )
        pixels[index] = image
    labels = torch.tensor([label for _, label in files])
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)
