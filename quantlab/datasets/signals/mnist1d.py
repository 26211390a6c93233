"""MNIST-1D, which its package generates."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quantlab.datasets.base import Dimensions
from quantlab.datasets.in_memory import Images, InMemoryDataset
from quantlab.datasets.loading.global_generators import kept_generators
from quantlab.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class MNIST1D(InMemoryDataset):
    """5,000 signals of 40 numbers in ten classes: 4,000 for training and 1,000 for testing.

    Each signal is a template of 12 numbers, one per digit, that is padded, scaled, shifted, sheared
    and disturbed by noise. The package ``mnist1d`` generates them with its own seed in a second;
    nothing is downloaded. Source: Greydanus and Kobak, *Scaling Down Deep Learning with MNIST-1D*
    (arXiv 2011.14439).
    """

    validation_images: int = 800
    mean: tuple[float, ...] = (0.0,)
    """Number that is subtracted from a signal. The signals are not scaled to [0, 1] before."""
    std: tuple[float, ...] = (1.0,)
    """Number, > 0, by which the result is divided. All signals together have mean 0 and standard
    deviation 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmentation is not None:
            raise ConfigurationError(
                f"MNIST1D.augmentation = {self.augmentation!r}: must be None, because images are "
                "cropped and flipped, and these are signals"
            )

    @property
    def num_channels(self) -> int:
        """Number of channels: 1."""
        return 1

    @property
    def dimensions(self) -> Dimensions | None:
        """Dimensions of the dataset."""
        return Dimensions(10, (1, 40)) if self._reads_as(MNIST1D) else None

    def check(self, data_dir: Path) -> None:
        """Check the sizes of the splits, and that the package is installed."""
        self._check_sizes(4000, 1000)
        _require_package()

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """Generate 4,000 training and 1,000 test signals (n, 1, 40) in float32."""
        _require_package()
        # The package imports matplotlib, which takes most of a second.
        from mnist1d.data import make_dataset

        with kept_generators():  # which the package seeds
            made = make_dataset()
        return _signals(made["x"], made["y"]), _signals(made["x_test"], made["y_test"]), 10

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return (signals - mean) / std as float32."""
        return (pixels.float() - self.mean[0]) / self.std[0]


def _signals(signals: Any, labels: Any) -> Images:
    """Return float64 (n, 40) and int64 (n,) arrays as tensors."""
    return Images(torch.from_numpy(signals).float()[:, None], torch.from_numpy(labels))


def _require_package() -> None:
    if find_spec("mnist1d") is None:
        raise ConfigurationError(
            "MNIST1D: needs the package mnist1d, which is not installed; install it with "
            "'pip install mnist1d'"
        )
