"""TinyImageNet, in the layout of its archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantlab.datasets.imagenet import ImageNet
from quantlab.datasets.images.class_folders import class_names, labelled_files
from quantlab.errors import ConfigurationError, brief

_FOLDER = "tiny-imagenet-200"
_SUFFIXES = frozenset({".jpeg", ".jpg"})


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(ImageNet):
    """100,000 training and 10,000 test images of 64x64 pixels in colour, in 200 classes.

    The files are those of the archive: ``train/<class>/images/*.JPEG``, ``val/images/*.JPEG``, and
    ``val/val_annotations.txt``, which has a line for each image in ``val``, with its name, a tab
    and its class. The images in ``val`` are the test images, because those in ``test`` have no
    labels.

    Training images are cropped at a random place and scale, resized to 64x64 pixels, and mirrored
    at random. The others are not changed. Normalization is that of ImageNet.

    Validation images are held out of ``train``. With ``validation_images=0`` and
    ``validation_split="test"``, they are the test images, as in the mirror-descent paper (Table 6).
    """

    folder: str = _FOLDER
    validation_images: int = 10_000
    crop: int = 64
    resize: int = 64

    @property
    def name(self) -> str:
        """Name in tables: TinyImageNet, or the folder if it has another name than the default."""
        return "TinyImageNet" if self.folder == _FOLDER else self.folder

    def _classes(self, data_dir: Path) -> list[str]:
        root = data_dir / self.folder
        try:
            return class_names(root / "train")
        except ConfigurationError as error:
            raise ConfigurationError(
                f"TinyImageNet.folder = {self.folder!r}: the folder {root} must contain the files "
                f"of the archive {_FOLDER}.zip ({error})"
            ) from error

    def _labelled_files(
        self, root: Path, classes: Sequence[str]
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        train = labelled_files(root / "train", classes, _SUFFIXES, nested=True)
        return train, _annotated_files(root / "val", classes)


def _annotated_files(root: Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return the images of a folder with their labels, in the order of its annotations."""
    annotations, images = root / "val_annotations.txt", root / "images"
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
        names = {path.name for path in images.iterdir() if not path.name.startswith(".")}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{root}: must contain the images and the file val_annotations.txt of the archive "
            f"({error})"
        ) from error
    labels, found = {name: label for label, name in enumerate(classes)}, {}
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition("\t")
        label = labels.get(rest.partition("\t")[0])
        if name not in names or label is None:
            raise ConfigurationError(
                f"{annotations}, line {number}: {brief(line)} must name an image in {images} and "
                f"its class, one of the folders in {root.with_name('train')}"
            )
        found[name] = label
    if missing := sorted(names - set(found)):
        raise ConfigurationError(
            f"{annotations}: has no line for {len(missing)} of the images in {images}, such as "
            f"{missing[0]}; every image needs a class"
        )
    return [(str(images / name), label) for name, label in found.items()]
