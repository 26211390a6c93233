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
                _image(rng, label, height, width).save(folder / f"{index}.jpg", quality=90)


def write_tiny_imagenet(root: Path, train: int, val: int) -> None:
    """Files in the layout of TinyImageNet's archive, with as many images of each class.

    Each class has its own colour. The lines of the annotations are in no order.
    """
    rng = np.random.default_rng(0)
    annotated = root / "val" / "images"
    annotated.mkdir(parents=True)
    lines = []
    for label, name in enumerate(CLASSES):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        (folder.parent / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t62\t62\n")
        for index in range(train):
            _image(rng, label, 64, 64).save(folder / f"{name}_{index}.JPEG", quality=90)
        for index in range(val):
            image = f"val_{len(CLASSES) * index + label}.JPEG"
            _image(rng, label, 64, 64).save(annotated / image, quality=90)
            lines.append(f"{image}\t{name}\t0\t0\t62\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(reversed(lines)) + "\n")


def _image(rng: np.random.Generator, label: int, height: int, width: int) -> Image.Image:
    pixels = rng.integers(0, 80, size=(height, width, 3), dtype=np.uint8)
    pixels[..., label] += 150
    return Image.fromarray(pixels)
