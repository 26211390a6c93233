import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from quantlab import ConfigurationError
from quantlab.datasets import Images
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.cifar import CIFAR10, CIFAR100
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder


def rows(images: Images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.pixels}


def test_digits_are_split_without_overlap() -> None:
    splits = Digits().load(Path("unused"))
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test)]
    assert sizes == [1077, 360, 360]
    assert splits.train.pixels.shape == (1077, 1, 8, 8)
    assert splits.train.pixels.dtype == torch.uint8
    assert set(splits.test.labels.tolist()) == set(range(10))
    parts = [rows(splits.train), rows(splits.validation), rows(splits.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_digits_are_normalized() -> None:
    dataset = Digits()
    pixels = dataset.load(Path("unused")).train.pixels
    normalized = dataset.normalize(pixels)
    assert abs(normalized.mean().item()) < 0.02
    assert abs(normalized.std().item() - 1) < 0.02
    direct = (pixels.double() / 255 - 0.2874) / 0.3540
    torch.testing.assert_close(normalized.double(), direct, atol=1e-5, rtol=0)


def test_subsets_keep_the_validation_and_test_images() -> None:
    whole, part = Digits().load(Path("unused")), Digits(train_images=100).load(Path("unused"))
    assert len(part.train) == 100
    assert torch.equal(part.validation.pixels, whole.validation.pixels)
    assert torch.equal(part.test.pixels, whole.test.pixels)
    assert torch.equal(part.train.pixels, whole.train.pixels[:100])
    other = Digits(split_seed=1).load(Path("unused"))
    assert not torch.equal(other.validation.pixels, whole.validation.pixels)


def test_sizes_are_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"train_images = 1860: only 1437 images"):
        Digits(train_images=1500).load(Path("unused"))
    with pytest.raises(ConfigurationError, match=r"test_images = 361: only 360"):
        Digits(test_images=361).load(Path("unused"))
    with pytest.raises(ConfigurationError, match=r"validation_images = -1: must be at least 0"):
        Digits(validation_images=-1)
    with pytest.raises(ConfigurationError, match=r"std = \(0.0,\)"):
        Digits(std=(0.0,))


def crops_of(image: Tensor, padding: int, flip: bool) -> set[bytes]:
    """All results that the augmentation may give for one (channels, height, width) image."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, (padding,) * 4)
    found = set()
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            found.add(crop.contiguous().numpy().tobytes())
            if flip:
                found.add(crop.flip(2).contiguous().numpy().tobytes())
    return found


@pytest.mark.parametrize("flip", [False, True])
def test_crops_and_flips_are_those_of_a_loop(flip: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (300, 3, 6, 5), generator=generator, dtype=torch.uint8)
    pixels[:] = pixels[0]  # so that all possible results can be listed
    augmented = CropFlip(padding=2, flip=flip)(pixels, generator)
    assert augmented.shape == pixels.shape
    assert augmented.dtype == torch.uint8
    seen = {image.contiguous().numpy().tobytes() for image in augmented}
    possible = crops_of(pixels[0], 2, flip)
    assert seen <= possible
    assert len(seen) > 0.9 * len(possible)


def test_augmentation_follows_its_generator() -> None:
    pixels = Digits().load(Path("unused")).train.pixels[:50]
    first, again = (CropFlip(padding=1)(pixels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(ConfigurationError, match=r"padding = -1"):
        CropFlip(padding=-1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 + 6 images of three classes, each of one colour."""
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("ant", "bee", "cow")):
            (tmp_path / "insects" / split / name).mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (5, 4), (80 * label, 10 * index, 0))
                image.save(tmp_path / "insects" / split / name / f"{index}.png")
    return tmp_path


def test_image_folders_are_read(folder: Path) -> None:
    dataset = ImageFolder(folder="insects", validation_images=3)
    dataset.check(folder)
    splits = dataset.load(folder)
    assert splits.num_classes == 3
    assert splits.train.pixels.shape == (9, 3, 4, 5)
    for part in (splits.train, splits.validation, splits.test):
        assert torch.equal(part.pixels[:, 0, 0, 0].long(), 80 * part.labels)


def test_bad_image_folders_are_named(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no folder .*birds/train"):
        ImageFolder(folder="birds", validation_images=1).check(folder)
    for bad in ("", "/abs", "../up"):
        with pytest.raises(ConfigurationError, match="must be a name within the data folder"):
            ImageFolder(folder=bad, validation_images=1)
    dataset = ImageFolder(folder="insects", validation_images=1)
    broken = folder / "insects" / "train" / "bee" / "0.png"
    content = broken.read_bytes()
    broken.write_bytes(b"no image")
    with pytest.raises(ConfigurationError, match=r"bee/0\.png: not a readable image"):
        dataset.load(folder)
    Image.new("RGB", (9, 9)).save(broken)
    with pytest.raises(ConfigurationError, match=r"bee/0\.png: is 9x9 pixels, others are 5x4"):
        dataset.load(folder)
    broken.write_bytes(content)
    (folder / "insects" / "test" / "dog").mkdir()
    with pytest.raises(ConfigurationError, match=r"classes \['dog'\] are not in train"):
        dataset.check(folder)


@pytest.mark.parametrize(("dataset", "classes"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_cifar_reads_torchvisions_files(
    dataset: type[CIFAR10], classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the official layout, but small, so with other checksums."""
    source = dataset.source
    monkeypatch.setattr(source, "_check_integrity", lambda self: True)
    monkeypatch.setattr(source, "_load_meta", lambda self: None)
    root = tmp_path / source.base_folder
    root.mkdir()
    generator = np.random.default_rng(0)
    key = "labels" if classes == 10 else "fine_labels"
    for name, _ in source.train_list + source.test_list:
        content = {
            "data": generator.integers(0, 256, (20, 3072), dtype=np.uint8),
            key: generator.integers(0, classes, 20).tolist(),
        }
        (root / name).write_bytes(pickle.dumps(content))
    splits = dataset(validation_images=5).load(tmp_path)
    assert splits.num_classes == classes
    assert splits.train.pixels.shape == (20 * len(source.train_list) - 5, 3, 32, 32)
    assert splits.test.labels.dtype == torch.int64


def test_missing_cifar_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"CIFAR10: not found under {tmp_path}"):
        CIFAR10().load(tmp_path)
