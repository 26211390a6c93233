"""scikit-learn's 1,797 handwritten digits, which come with the library."""

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
    """8x8 grey images of ten digits, from the UCI optical-recognition set; no download.

    The set has no test split of its own: the first 360 of a fixed permutation are the test images.
    """

    validation_images: int = 360
    mean: tuple[float, ...] = (0.2874,)
    std: tuple[float, ...] = (0.3540,)

    @property
    def num_channels(self) -> int:
        """One, grey."""
        return 1

    @property
    def dimensions(self) -> Dimensions | None:
        """Of the set, whatever is left out of it."""
        return Dimensions(10, (1, 8, 8)) if self._reads_as(Digits) else None

    def check(self, data_dir: Path) -> None:
        """The images are part of scikit-learn; there need only be enough of them."""
        self._check_sizes(1437, 360)

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """1,437 training images and 360 test images; the 17 grey levels are scaled to 0..240."""
        table = torch.from_numpy(_table())
        pixels = (table[:, :-1] * 15).to(torch.uint8).reshape(-1, 1, 8, 8)
        everything = Images(pixels, table[:, -1].long())
        order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(1797))
        return everything.take(order[360:]), everything.take(order[:360]), 10


def _table() -> npt.NDArray[np.float64]:
    """64 grey levels of 0..16 and the digit, (1797, 65), as ``load_digits`` reads it.

    Importing scikit-learn takes a second, in every process of a sweep, and its file needs none.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    file = Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",")
