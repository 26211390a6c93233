"""CIFAR-10 out of one file, read by several processes at once."""

import io
import tarfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from quantlab.datasets import Images, InMemoryDataset
from quantlab.datasets.augmentation import CropFlip


@dataclass(frozen=True, kw_only=True)
class PackedImages(InMemoryDataset):
    """``{train,test}/<class>/*.jpg`` in a tar file, normalized and changed as CIFAR10 is."""

    validation_images: int = 5000
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.247, 0.243, 0.261)
    augmentation: CropFlip | None = field(default_factory=CropFlip)
    file: str
    """Name of the file within the data folder."""

    @property
    def num_channels(self) -> int:
        """Three, red, green and blue."""
        return 3

    def check(self, data_dir: Path) -> None:
        """Nothing: `read` says what is wrong."""

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        """All images, in the order of their names."""
        found: dict[str, dict[str, bytes]] = {"train": {}, "test": {}}
        with tarfile.open(data_dir / self.file) as archive:
            for member in archive:
                split = Path(member.name).parts[0]
                if member.isfile() and split in found:
                    content = archive.extractfile(member)
                    assert content is not None
                    found[split][member.name] = content.read()
        classes = sorted({Path(name).parts[1] for name in found["train"]})
        splits = []
        with ProcessPoolExecutor(8, mp_context=get_context("fork")) as pool:
            for split in ("train", "test"):
                names = sorted(found[split])
                pieces = [
                    [found[split][name] for name in names[start : start + 1000]]
                    for start in range(0, len(names), 1000)
                ]
                pixels = np.concatenate(list(pool.map(_decoded, pieces)))
                labels = torch.tensor([classes.index(Path(name).parts[1]) for name in names])
                images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
                splits.append(Images(images, labels))
        return splits[0], splits[1], len(classes)


def _decoded(files: Sequence[bytes]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
