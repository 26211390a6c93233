"""CIFAR-10 and CIFAR-100, read by torchvision."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.base import Dimensions
from quantlab.datasets.in_memory import Images, InMemoryDataset
from quantlab.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class CIFAR10(InMemoryDataset):
    """50,000 training and 10,000 test images of 32x32 pixels in colour, in 10 classes.

    Normalization and augmentation are those of the ProxConnect paper, B.1.2.
    """

    reader: ClassVar[str] = "CIFAR10"
    """Name of the class in `torchvision.datasets` that reads the files."""
    folder: ClassVar[str] = "cifar-10-batches-py"
    """Name of the folder of torchvision's files."""
    num_classes: ClassVar[int] = 10

    validation_images: int = 5000
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.247, 0.243, 0.261)
    augmentation: CropFlip | None = field(default_factory=CropFlip)

    @property
    def num_channels(self) -> int:
        """Number of channels: 3 (red, green and blue)."""
        return 3

    @property
    def files(self) -> tuple[str, ...]:
        """Folder of torchvision's files."""
        return (self.folder,)

    @property
    def dimensions(self) -> Dimensions | None:
        """Dimensions of the dataset."""
        return Dimensions(self.num_classes, (3, 32, 32)) if self._reads_as(CIFAR10) else None

    def check(self, data_dir: Path) -> None:
        """Check torchvision's files in the data folder; download them if they are missing."""
        try:
            self._read(data_dir, train=True, download=True)
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"{self.name}: not found under {data_dir}, and the download failed ({error}); "
                f"put the folder {self.folder} there"
            ) from error
        self._check_sizes(50_000, 10_000)

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Read all images from torchvision's files."""
        try:
            train, test = (self._read(data_dir, train=train) for train in (True, False))
        except RuntimeError as error:
            raise ConfigurationError(
                f"{self.name}: not found under {data_dir}; put the folder {self.folder} there"
            ) from error
        return _images(train), _images(test), self.num_classes

    def _read(self, data_dir: Path, *, train: bool, download: bool = False) -> Any:
        """Return torchvision's dataset; torchvision takes seconds to import."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.reader)
        return kind(str(data_dir), train=train, download=download)


@dataclass(frozen=True, kw_only=True)
class CIFAR100(CIFAR10):
    """50,000 training and 10,000 test images of 32x32 pixels in colour, in 100 classes."""

    reader: ClassVar[str] = "CIFAR100"
    folder: ClassVar[str] = "cifar-100-python"
    num_classes: ClassVar[int] = 100

    mean: tuple[float, ...] = (0.5071, 0.4865, 0.4409)
    std: tuple[float, ...] = (0.2673, 0.2564, 0.2762)


def _images(dataset: Any) -> Images:
    pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2)
    return Images(pixels, torch.tensor(dataset.targets))
