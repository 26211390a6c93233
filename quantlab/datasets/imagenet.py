"""ImageNet, and other large folders of images of any size, which are decoded during training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from quantlab.datasets.base import Dimensions, ImageSet, Splits
from quantlab.datasets.images.class_folders import class_names, labelled_files
from quantlab.datasets.images.decoding import read_image
from quantlab.datasets.images.spec import ImageDatasetSpec
from quantlab.datasets.loading.files import require_relative
from quantlab.datasets.loading.loader import Batch, loaded_batches, positions_of_batches
from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class ImageFiles:
    """Image files with their labels."""

    paths: Sequence[str]
    labels: Tensor
    """(num_images,) int64, on the CPU."""
    device: torch.device
    """Device to which batches are copied."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Tensor) -> "ImageFiles":
        """Return the images at the given positions."""
        paths = [self.paths[index] for index in indices.tolist()]
        return replace(self, paths=paths, labels=self.labels[indices])


@dataclass(frozen=True, kw_only=True)
class ImageNet(ImageDatasetSpec):
    """Images in ``<folder>/train/<class>/*`` and ``<folder>/val/<class>/*``, as in ILSVRC 2012.

    The images in ``val`` are the test images. Validation images are held out of ``train``. Training
    images are cropped at a random place and scale and mirrored at random. The others are resized
    and cropped at the centre (ProxConnect paper, B.4). The random numbers of an image depend on the
    epoch's seed and the position of the image only, so that neither the number of loader processes
    nor a resumption changes them.
    """

    is_in_class_order: ClassVar[bool] = True

    folder: str = "imagenet"
    """Path of the folder, relative to the data folder."""
    validation_images: int = 50_000
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: int = 224
    """Height and width of a network input, in pixels."""
    resize: int = 256
    """Length of the shorter side before the central crop, in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_relative(self, "folder")
        require_count(self, "crop", 1)
        require_count(self, "resize", 1)
        if self.crop > self.resize:
            owner = type(self).__name__
            raise ConfigurationError(
                f"{owner}.crop = {self.crop!r}: must be a whole number from 1 to "
                f"{owner}.resize = {self.resize!r}"
            )

    @property
    def name(self) -> str:
        """Name in tables: ImageNet, or the folder if it has another name than the default."""
        return "ImageNet" if self.folder == "imagenet" else self.folder

    @property
    def num_channels(self) -> int:
        """Number of channels: 3 (red, green and blue)."""
        return 3

    @property
    def files(self) -> tuple[str, ...]:
        """Path of the folder."""
        return (self.folder,)

    def check(self, data_dir: Path) -> None:
        """Check the class folders of both splits, and count their images."""
        train, test, _ = self._files(data_dir, torch.device("cpu"))
        self._check_sizes(len(train), len(test))

    def find_dimensions(self, data_dir: Path) -> Dimensions:
        """Return the dimensions, from the class folders and the size of a crop."""
        if not self._reads_as(ImageNet):
            return super().find_dimensions(data_dir)
        return Dimensions(len(self._classes(data_dir)), (3, self.crop, self.crop))

    def load(self, data_dir: Path, device: torch.device | str = "cpu") -> Splits:
        """Return the splits as lists of files; images are decoded by `batches`."""
        return self._split(*self._files(data_dir, torch.device(device)))

    def batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield decoded, cropped and normalized batches; see `DatasetSpec.batches`.

        Raises:
            ConfigurationError: if an image cannot be read.
            LostProcessError: if a loader process was killed.
        """
        return self._decoded(
            images, positions_of_batches(len(images), batch_size, order), generator, workers
        )

    def shared_batches(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        share: Callable[[int], slice],
        order: Tensor | None = None,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a part of each batch, and decode no other images; see `batches`."""
        if not self._reads_as(ImageNet):  # the other method may be that of a subclass
            return super().shared_batches(
                images,
                batch_size=batch_size,
                share=share,
                order=order,
                generator=generator,
                workers=workers,
            )
        parts = [
            batch[share(len(batch))]
            for batch in positions_of_batches(len(images), batch_size, order)
        ]
        return self._decoded(images, parts, generator, workers)

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Resize, crop and normalize images (batch, 3, height, width) of any size, as in files."""
        from torchvision.transforms import v2

        self.require_pixels(examples)
        cropped = _central_crop(self)
        pixels = torch.stack([cropped(v2.functional.to_pil_image(image)) for image in examples])
        return self.normalize(pixels.to(examples.device))

    def _decoded(
        self,
        images: ImageSet,
        batches: Sequence[list[int]],
        generator: torch.Generator | None,
        workers: int,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(images, ImageFiles)
        read = _Decoder(images, self, None if generator is None else generator.initial_seed())
        device = images.device
        for pixels, labels in loaded_batches(read, batches, device=device, workers=workers):
            yield (
                self.normalize(pixels.to(device, non_blocking=True)),
                labels.to(device, non_blocking=True),
            )

    def _files(self, data_dir: Path, device: torch.device) -> tuple[ImageFiles, ImageFiles, int]:
        classes = self._classes(data_dir)
        train, test = self._labelled_files(data_dir / self.folder, classes)
        return _image_files(train, device), _image_files(test, device), len(classes)

    def _labelled_files(
        self, root: Path, classes: Sequence[str]
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Return the training and the test images of a folder, with their labels."""
        train, test = (
            labelled_files(root / split, classes, _SUFFIXES, nested=True)
            for split in ("train", "val")
        )
        return train, test

    def _classes(self, data_dir: Path) -> list[str]:
        root = data_dir / self.folder
        found = []
        for split in ("train", "val"):
            try:
                found.append(class_names(root / split))
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"ImageNet.folder = {self.folder!r}: the folder {root / split} must contain "
                    f"one sub-folder of images per class ({error})"
                ) from error
        if found[0] != found[1]:
            odd = sorted(set(found[0]) ^ set(found[1]))
            raise ConfigurationError(
                f"{root}: the classes {odd} are not in both train and val; both must have the same "
                "classes"
            )
        return found[0]


def _image_files(files: Sequence[tuple[str, int]], device: torch.device) -> ImageFiles:
    labels = torch.tensor([label for _, label in files])
    return ImageFiles([path for path, _ in files], labels, device)


def _central_crop(spec: ImageNet) -> Callable[[Any], Tensor]:
    """Return the transform of images for evaluation: (3, crop, crop) uint8 of an image."""
    from torchvision.transforms import v2  # which takes seconds to import

    transform: Callable[[Any], Tensor] = v2.Compose(
        [v2.Resize(spec.resize), v2.CenterCrop(spec.crop), v2.PILToTensor()]
    )
    return transform


class _Decoder:
    """Reads batches of images as (3, crop, crop) uint8 tensors."""

    def __init__(self, images: ImageFiles, spec: ImageNet, seed: int | None) -> None:
        from torchvision.transforms import v2

        self._images = images
        self._seed = seed
        augmented = [v2.RandomResizedCrop(spec.crop), v2.RandomHorizontalFlip(), v2.PILToTensor()]
        self._transform = _central_crop(spec) if seed is None else v2.Compose(augmented)

    def __call__(self, positions: list[int]) -> Batch:
        pixels, labels = default_collate([self._image(position) for position in positions])
        return pixels, labels

    def _image(self, position: int) -> Batch:
        pixels = read_image(self._images.paths[position])
        if self._seed is None:
            return self._transform(pixels), self._images.labels[position]
        with torch.random.fork_rng(devices=[]):
            mixed = np.random.SeedSequence([self._seed, position]).generate_state(1)[0]
            torch.default_generator.manual_seed(int(mixed))  # and no other device's
            return self._transform(pixels), self._images.labels[position]
