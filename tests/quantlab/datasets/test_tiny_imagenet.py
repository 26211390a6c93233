"""TinyImageNet in the layout of its archive."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError
from quantlab.datasets.base import Dimensions
from quantlab.datasets.tiny_imagenet import TinyImageNet
from tests.quantlab.image_trees import CLASSES, write_tiny_imagenet

SMALL = TinyImageNet(validation_images=6)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_tiny_imagenet(tmp_path / "tiny-imagenet-200", train=6, val=3)
    return tmp_path


def inputs_of(data: Path, split: str, seed: int | None = None) -> tuple[Tensor, Tensor]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    images = getattr(SMALL.load(data), split)
    (batch,) = SMALL.batches(images, batch_size=100, generator=generator)
    return batch


def test_images_keep_their_classes(data: Path) -> None:
    SMALL.check(data)
    assert SMALL.find_dimensions(data) == Dimensions(3, (3, 64, 64))
    splits = SMALL.load(data)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [12, 6, 9]
    for split in ("train", "validation", "test"):
        for seed in (None, 1):
            inputs, labels = inputs_of(data, split, seed)
            assert inputs.shape[1:] == (3, 64, 64)
            pixels = inputs * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            pixels += torch.tensor([0.485, 0.456, 0.406])[:, None, None]
            assert torch.equal(pixels.mean(dim=(2, 3)).argmax(dim=1), labels)


def test_only_training_images_are_changed(data: Path) -> None:
    """Crops and mirror images are as large as the image, and differ between epochs."""
    plain, _ = inputs_of(data, "train")
    first, second = (inputs_of(data, "train", seed)[0] for seed in (1, 2))
    assert not any(torch.equal(*pair) for pair in zip(plain, first, strict=True))
    assert not torch.equal(first, second)


def test_the_papers_validation_images_are_the_test_images(data: Path) -> None:
    splits = TinyImageNet(validation_images=0, validation_split="test").load(data)
    assert splits.validation is splits.test
    assert [len(splits.train), len(splits.test)] == [18, 9]


def test_missing_files_are_named(data: Path, tmp_path: Path) -> None:
    root = data / "tiny-imagenet-200"
    with pytest.raises(
        ConfigurationError, match=r"^TinyImageNet\.folder = 'none': the folder .*none must contain"
    ):
        TinyImageNet(folder="none").check(tmp_path)
    (root / "val" / "images" / "val_99.JPEG").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"no line for 1 .* val_99\.JPEG; every image"):
        SMALL.check(data)
    annotations = root / "val" / "val_annotations.txt"
    whole = annotations.read_text()
    for line in ("val_99.JPEG\tfox\t0", f"val_98.JPEG\t{CLASSES[0]}\t0", "val_99.JPEG"):
        annotations.write_text(f"{whole}{line}\n")
        with pytest.raises(ConfigurationError, match=r"val_annotations\.txt, line 10: .* class"):
            SMALL.check(data)
    annotations.unlink()
    with pytest.raises(ConfigurationError, match=r"val: must contain the images and the file"):
        SMALL.check(data)


def test_name_in_tables() -> None:
    assert TinyImageNet().name == "TinyImageNet"
    assert TinyImageNet(folder="other").name == "other"
