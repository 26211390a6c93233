import math
import multiprocessing
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from quantlab import ConfigurationError, TrainingRun, override
from quantlab.datasets import Images
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.cifar import CIFAR10, CIFAR100
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder
from quantlab.datasets.imagenet import ImageNet
from quantlab.errors import LostProcessError
from tests.quantlab.image_trees import CLASSES, write_images
from tests.quantlab.recipes import small_recipe


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


def test_digits_are_those_that_scikit_learn_loads() -> None:
    bunch = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1797))
    train, test, classes = Digits().read(Path("unused"))
    assert classes == 10
    for part, places in ((train, order[360:]), (test, order[:360])):
        assert torch.equal(part.labels, torch.from_numpy(bunch.target)[places])
        assert torch.equal(part.pixels[:, 0] / 15.0, torch.from_numpy(bunch.images).float()[places])


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
    with pytest.raises(ConfigurationError, match=r"train_images = 1860: must be at most 1437"):
        Digits(train_images=1500).load(Path("unused"))
    with pytest.raises(ConfigurationError, match=r"test_images = 361: must be at most 360"):
        Digits(test_images=361).load(Path("unused"))
    with pytest.raises(
        ConfigurationError, match=r"validation_images = -1: must be a whole number >= 0"
    ):
        Digits(validation_images=-1)
    with pytest.raises(ConfigurationError, match=r"train_images = '5': must be a whole number"):
        Digits(train_images="5")  # type: ignore[arg-type]
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
    with pytest.raises(ConfigurationError, match=r"the folder .*birds/train does not exist"):
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
    with pytest.raises(ConfigurationError, match=r"bee/0\.png: has 9x9 pixels, but .* has 5x4"):
        dataset.load(folder)
    broken.write_bytes(content)
    (folder / "insects" / "test" / "dog").mkdir()
    with pytest.raises(ConfigurationError, match=r"classes \['dog'\] are not in .*train"):
        dataset.check(folder)


@pytest.mark.parametrize(("dataset", "classes"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_cifar_reads_torchvisions_files(
    dataset: type[CIFAR10], classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the official layout, but small, so with other checksums."""
    source = getattr(torchvision.datasets, dataset.reader)
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


@dataclass(frozen=True, kw_only=True)
class Mislabelled(Digits):
    """Digits whose last class got a label of its own."""

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        train, test, num_classes = super().read(data_dir)
        labels = torch.where(train.labels == 9, 10, train.labels)
        return Images(train.pixels, labels), test, num_classes


def test_labels_out_of_range_are_named() -> None:
    message = r"Mislabelled: \d+ of 1437 training labels are out of range, such as 10; .* 0 to 9"
    with pytest.raises(ConfigurationError, match=message):
        TrainingRun(small_recipe(dataset=Mislabelled()))


def test_without_validation_images_there_is_no_validation_accuracy() -> None:
    """The papers' protocol: all training images are trained on."""
    dataset = Digits(validation_images=0, test_images=60)
    run = TrainingRun(small_recipe(dataset=dataset, epochs=1))
    assert len(run.splits.train) == 1437
    (record,) = run
    assert math.isnan(record.validation_accuracy_hard)
    outcome = run.outcome()
    assert math.isnan(outcome.validation_accuracy)
    assert 0 <= outcome.test_accuracy <= 1


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    write_images(tmp_path / "imagenet", {"train": 8, "val": 3})
    return tmp_path


SMALL_IMAGENET = ImageNet(validation_images=6, crop=32, resize=36)


def batches_of(
    data: Path,
    split: str,
    *,
    seed: int | None = None,
    workers: int = 0,
    order: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All batches of a split, end to end."""
    found = list(
        SMALL_IMAGENET.batches(
            getattr(SMALL_IMAGENET.load(data), split),
            batch_size=4,
            order=order,
            generator=None if seed is None else torch.Generator().manual_seed(seed),
            workers=workers,
        )
    )
    inputs, labels = zip(*found, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def test_imagenet_is_decoded_cropped_and_normalized(imagenet: Path) -> None:
    SMALL_IMAGENET.check(imagenet)
    splits = SMALL_IMAGENET.load(imagenet)
    assert splits.num_classes == 3
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [18, 6, 9]
    for split in ("train", "validation", "test"):
        inputs, labels = batches_of(imagenet, split)
        assert inputs.shape[1:] == (3, 32, 32)
        # A class is known by its colour, so images and labels have stayed together.
        pixels = inputs * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        pixels += torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        assert torch.equal(pixels.mean(dim=(2, 3)).argmax(dim=1), labels)


def test_imagenet_augments_by_epoch_and_image_alone(imagenet: Path) -> None:
    """Neither the loader's processes nor the place in the order play a part."""
    first, labels = batches_of(imagenet, "train", seed=1)
    again, _ = batches_of(imagenet, "train", seed=1, workers=2)
    assert torch.equal(first, again)
    other, _ = batches_of(imagenet, "train", seed=2)
    assert not torch.equal(first, other)
    order = torch.tensor([3, 0, 17])
    some, some_labels = batches_of(imagenet, "train", seed=1, order=order)
    assert torch.equal(some, first[order])
    assert torch.equal(some_labels, labels[order])


def test_imagenet_leaves_the_global_generator_alone(imagenet: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    batches_of(imagenet, "train", seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_bad_imagenet_folders_are_named(imagenet: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"none/train must contain one sub-folder of images"
    ):
        ImageNet(folder="none").check(imagenet)
    with pytest.raises(ConfigurationError, match=r"validation_images .* must be at most 24"):
        ImageNet().check(imagenet)
    for path in (imagenet / "imagenet" / "train" / CLASSES[0]).glob("*"):
        path.write_bytes(path.read_bytes()[:300])
    for workers in (0, 1):
        with pytest.raises(
            ConfigurationError, match=r"^\S+cat/\d\.jpg: not a readable image .*\)$"
        ):
            batches_of(imagenet, "train", workers=workers)
    (imagenet / "imagenet" / "val" / "fox").mkdir()
    (imagenet / "imagenet" / "val" / "fox" / "0.jpg").touch()
    with pytest.raises(ConfigurationError, match=r"classes \['fox'\] are not in both"):
        SMALL_IMAGENET.check(imagenet)


def test_imagenets_augmentation_cannot_be_chosen() -> None:
    with pytest.raises(TypeError, match="augmentation"):
        ImageNet(augmentation=CropFlip())  # type: ignore[call-arg]
    with pytest.raises(
        ConfigurationError, match=r"ImageNet has no field 'augmentation'; its fields are "
    ):
        override(small_recipe(dataset=ImageNet()), "dataset.augmentation", CropFlip())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "/abs"}, "must be a name within the data folder"),
        (
            {"crop": 300},
            r"ImageNet\.crop = 300: must be a whole number from 1 to ImageNet\.resize = 256",
        ),
    ],
)
def test_bad_imagenet_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ImageNet(**settings)  # type: ignore[arg-type]


def test_a_lost_loader_process_is_told_apart_from_our_own_errors(imagenet: Path) -> None:
    """The trial can then be continued by another attempt."""
    images = SMALL_IMAGENET.load(imagenet).train
    batches = SMALL_IMAGENET.batches(images, batch_size=1, workers=1)
    next(batches)
    (loader,) = multiprocessing.active_children()
    loader.kill()
    with pytest.raises(LostProcessError, match="a loader process was killed"):
        list(batches)


class Mirror:
    """An augmentation of the user's, whose methods need no instance."""

    @staticmethod
    def draw(count: int, *generators: torch.Generator) -> Tensor:
        return torch.zeros(count)

    @staticmethod
    def apply(pixels: Tensor, drawn: Tensor) -> Tensor:
        return pixels.flip(3)


@dataclass(frozen=True, kw_only=True)
class OwnWay(Digits):
    """A dataset of the user's, whose augmentation is a number."""

    def draw(self, count: int, generators: object) -> Tensor | None:
        return None


@dataclass(frozen=True, kw_only=True)
class OwnBatches(OwnWay):
    def drawn_batch(self, images: object, indices: Tensor, drawn: object) -> tuple[Tensor, Tensor]:
        return super().drawn_batch(images, indices, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [CropFlip, True, "flip", OwnWay], ids=str)
def test_what_is_no_augmentation_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Digits\.augmentation = .*such as CropFlip\("):
        Digits(augmentation=wrong)
    with pytest.raises(ConfigurationError, match=r"CIFAR10\.augmentation = "):
        CIFAR10(augmentation=wrong)


@pytest.mark.parametrize(
    "own", [Mirror, Mirror(), CropFlip(padding=1)], ids=["a class", "an instance", "ours"]
)
def test_augmentations_of_users_are_used(own: Any) -> None:
    dataset = Digits(augmentation=own)
    splits = dataset.load(Path("unused"))
    generator = torch.Generator().manual_seed(0)
    inputs, _ = next(iter(dataset.batches(splits.train, batch_size=3, generator=generator)))
    plain, _ = next(iter(dataset.batches(splits.train, batch_size=3)))
    assert inputs.shape == plain.shape
    assert not isinstance(own, Mirror) or torch.equal(inputs, plain.flip(3))
    OwnBatches(augmentation=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"OwnWay\.augmentation = 0\.5"):
        OwnWay(augmentation=0.5)  # type: ignore[arg-type]
