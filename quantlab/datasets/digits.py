"""The 1,797 handwritten digits that are part of scikit-learn."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from quantlab.datasets.base import Dimensions
from quantlab.datasets.in_memory import Images, InMemoryDataset


@dataclass(frozen=True, kw_only=True)
class Digits(InMemoryDataset):
    """8x8 grey images of ten digits, from the UCI optical-recognition set. No download is needed.

    The set has no test split. The first 360 images of a fixed permutation are the test images.
    """

    validation_images: int = 360
    mean: tuple[float, ...] = (0.2874,)
    std: tuple[float, ...] = (0.3540,)

    @property
    def num_channels(self) -> int:
        """Number of channels: 1 (grey)."""
        return 1

    @property
    def dimensions(self) -> Dimensions | None:
        """Dimensions of the dataset."""
        return Dimensions(10, (1, 8, 8)) if self._reads_as(Digits) else None

    def check(self, data_dir: Path) -> None:
        """Check the sizes of the splits. The images themselves are part of scikit-learn."""
        self._check_sizes(1437, 360)

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Read 1,437 training and 360 test images. The 17 grey levels are scaled to 0..240."""
        table = torch.from_numpy(_table())
        pixels = (table[:, :-1] * 15).to(torch.uint8).reshape(-1, 1, 8, 8)
        everything = Images(pixels, table[:, -1].long())
        order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(1797))
        return everything.take(order[360:]), everything.take(order[:360]), 10


def _table() -> npt.NDArray[np.float64]:
    """Return (1797, 65) numbers: 64 grey levels from 0 to 16 and the digit of each image.

    The file of scikit-learn is read directly, because importing the library takes a second in every
    process of a sweep.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    file = Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",")
