"""Image files of many formats, and class folders with files of other programs in them."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantlab import ConfigurationError
from quantlab.datasets import DatasetSpec
from quantlab.datasets.image_folder import ImageFolder
from quantlab.datasets.imagenet import ImageFiles, ImageNet
from quantlab.datasets.images.decoding import read_image

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
PICTURE = Image.fromarray(COLOURS)
GREY = Image.fromarray(COLOURS[..., 0])


def pixels(path: Path) -> np.ndarray:
    return np.asarray(read_image(path))


def as_grey(values: np.ndarray) -> np.ndarray:
    return np.stack([values] * 3, axis=-1)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_images_of_eight_bits_are_what_pillow_makes_of_them(mode: str, tmp_path: Path) -> None:
    image = (GREY if mode in ("L", "1", "LA") else PICTURE).convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    path = save(image, tmp_path / f"image.{suffix}")
    with Image.open(path) as stored:
        assert stored.mode == mode
        assert (pixels(path) == np.asarray(stored.convert("RGB"))).all()
    if mode in ("RGB", "RGBA"):
        assert (pixels(path) == COLOURS).all()
    if mode == "LA":
        assert (pixels(path) == as_grey(COLOURS[..., 0])).all()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_images_are_turned_the_right_way_up(orientation: int, tmp_path: Path) -> None:
    stored = PICTURE.resize((8, 12), Image.Resampling.NEAREST)
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored.transpose(back), tmp_path / "image.png", exif=exif)
    assert (pixels(path) == np.asarray(stored)).all()


def test_damaged_exif_data_says_nothing(tmp_path: Path) -> None:
    path = save(PICTURE, tmp_path / "image.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert (pixels(path) == COLOURS).all()


def transparent(mode: str) -> Image.Image:
    image = PICTURE.convert("RGBA")
    image.putpixel((1, 2), (9, 9, 9, 254))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("image", "options", "says"),
    [
        (Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 257), {}, r"8 bits .*I;16"),
        (transparent("RGBA"), {}, "transparent pixels"),
        (transparent("LA"), {}, "transparent pixels"),
        (PICTURE, {"transparency": tuple(COLOURS[0, 0].tolist())}, "transparent pixels"),
        (PICTURE.convert("P"), {"transparency": b"\x80"}, "transparent pixels"),
        (PICTURE, {"save_all": True, "append_images": [PICTURE.rotate(180)]}, "holds 2 images"),
    ],
    ids=["16 bits", "RGBA", "LA", "colour key", "palette", "animated"],
)
def test_what_would_have_to_be_guessed_is_refused_by_name(
    image: Image.Image, options: dict[str, object], says: str, tmp_path: Path
) -> None:
    path = save(image, tmp_path / "odd.png", **options)
    if options.get("transparency") == b"\x80":  # of the palette's first colour, which one must have
        with Image.open(path) as stored:
            stored.putpixel((0, 0), 0)
            save(stored, path, **options)
    with pytest.raises(ConfigurationError, match=rf"odd\.png: .*{says}"):
        read_image(path)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_images_of_floats_and_of_32_bits_are_refused(kind: type, tmp_path: Path) -> None:
    path = save(Image.fromarray(COLOURS[..., 0].astype(kind)), tmp_path / "odd.tiff")
    with pytest.raises(ConfigurationError, match=r"odd\.tiff: does not have 8 bits"):
        read_image(path)


def test_of_a_cameras_file_the_picture_is_read(tmp_path: Path) -> None:
    path = save(
        PICTURE, tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[PICTURE.rotate(90)]
    )
    with Image.open(path) as stored:
        assert stored.format == "MPO"
        assert (pixels(path) == np.asarray(stored.convert("RGB"))).all()


Tree = Callable[[str], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes an image at a path below ``data/pets``, as clean two-class trees need them, too."""
    buffer = io.BytesIO()
    PICTURE.save(buffer, format="PNG")

    def write(name: str) -> Path:
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
        return path

    for split in ("train", "test", "val"):
        for name in ("cat", "dog"):
            write(f"{split}/{name}/1.png")
            write(f"{split}/{name}/2.PNG")
    return write


FOLDER = ImageFolder(folder="pets", validation_images=1)
LARGE = ImageNet(folder="pets", validation_images=1, crop=4, resize=4)


def labels(dataset: DatasetSpec, data: Path) -> dict[str, int]:
    splits = dataset.load(data)
    assert dataset.find_dimensions(data).num_classes == splits.num_classes
    return {split: len(getattr(splits, split)) for split in ("train", "test")} | {
        "classes": splits.num_classes
    }


@pytest.mark.parametrize("dataset", [FOLDER, LARGE], ids=["ImageFolder", "ImageNet"])
def test_hidden_files_and_folders_are_no_classes_and_no_images(
    dataset: DatasetSpec, tree: Tree, tmp_path: Path
) -> None:
    expected = {"train": 3, "test": 4, "classes": 2}
    assert labels(dataset, tmp_path) == expected
    for split in ("train", "test", "val"):
        tree(f"{split}/.ipynb_checkpoints/1.png")
        tree(f"{split}/@eaDir/cat/1.png")
        tree(f"{split}/__MACOSX/1.png")
        tree(f"{split}/cat/._1.png")
        tree(f"{split}/cat/.ipynb_checkpoints/1-checkpoint.png")
        tree(f"{split}/dog/@eaDir/1.png/SYNO_THUMB.png")
        (tmp_path / "pets" / split / "dog" / "Thumbs.db").touch()
        (tmp_path / "pets" / split / "notes.txt").touch()
    assert labels(type(dataset)(**{**vars(dataset), "split_seed": 1}), tmp_path) == expected


@pytest.mark.parametrize("dataset", [FOLDER, LARGE], ids=["ImageFolder", "ImageNet"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("train/cat/3.gif", r"3\.gif: cannot be read"),
        ("val/fox/1.txt", None),
        ("train/dog/4.heic", r"4\.heic: cannot be read"),
    ],
)
def test_no_image_is_left_out_without_a_word(
    dataset: DatasetSpec, name: str, says: str | None, tree: Tree, tmp_path: Path
) -> None:
    for split in ("train", "test", "val") if "fox" in name else ("",):
        tree(name.replace("val", split) if split else name)
    with pytest.raises(ConfigurationError, match=says or r"train/fox: contains no images"):
        dataset.check(tmp_path)


def test_folders_within_classes_and_links(tree: Tree, tmp_path: Path) -> None:
    root = tmp_path / "pets"
    (root / "train" / "emu").symlink_to(root / "train" / "cat")
    (root / "val" / "emu").symlink_to(root / "val" / "cat")
    assert labels(FOLDER, tmp_path) == {"train": 5, "test": 4, "classes": 3}
    path = tree("train/cat/kitten/3.png")
    images = LARGE.load(tmp_path).train
    assert isinstance(images, ImageFiles)
    assert len(images) == 7  # of 8 in all, with the link's
    with pytest.raises(ConfigurationError, match=rf"{path}: is in a sub-folder of its class"):
        FOLDER.check(tmp_path)
    (root / "train" / "cat" / "kitten" / "loop").symlink_to(root / "train" / "cat")
    with pytest.raises(ConfigurationError, match=r"loop: is a link to a folder that contains it"):
        LARGE.check(tmp_path)


def test_a_link_to_nothing_is_named(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "pets" / "train" / "cat" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ConfigurationError, match=r"cat/3\.png: not a readable image"):
        ImageFolder(folder="pets", validation_images=2).load(tmp_path)
