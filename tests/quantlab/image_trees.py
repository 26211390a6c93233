"""Small folders of images for tests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "emu")


def write_images(root: Path, images_a_class: Mapping[str, int]) -> None:
    """JPEG files of various sizes under ``root/<split>/<class>``; each class has its own colour."""
    rng = np.random.default_rng(0)
    for split, count in images_a_class.items():
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = rng.integers(40, 60, size=2)
                pixels = rng.integers(0, 80, size=(height, width, 3), dtype=np.uint8)
                pixels[..., label] += 150
                Image.fromarray(pixels).save(folder / f"{index}.jpg", quality=90)
