"""Texts that are cut into windows of bytes, which stay in their file until they are needed."""

import mmap
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from quantlab.datasets.base import Dimensions, ImageSet, Splits
from quantlab.datasets.gathered import GatheredDataset
from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count

_BYTES = 256
"""Number of symbols."""


@dataclass(frozen=True)
class Windows:
    """Adjacent windows of a text."""

    table: Tensor
    """(num_windows, length + 1) uint8: the inputs of a window, and the byte after them. Windows
    that follow each other share a byte; they are a view of the text, which stays in its file."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> Tensor:
        """(num_windows, length) uint8 targets: the byte after each input."""
        return self.table[:, 1:]

    def take(self, indices: Tensor) -> "Windows":
        """Return the windows at the given positions, read into memory."""
        return Windows(self.table[indices])

    def to(self, device: torch.device) -> "Windows":
        """Return the windows on a device, where a byte of the text takes a byte."""
        return Windows(self.table.to(device))


@dataclass(frozen=True, kw_only=True)
class ByteDataset(GatheredDataset):
    """A text, which is cut into windows of `length` bytes.

    A window is an example: its inputs are int64 bytes (length,), and its targets the bytes that
    follow each of them. The windows follow each other without gaps, so that an epoch predicts every
    byte of the training text once, from those before it in its window. Their order is random.

    The last windows are the test text, and those before them the validation text. No byte that is
    predicted there is seen in training.
    """

    length: int = 256
    """Number of bytes of a window, >= 1."""
    validation_images: int = 200
    """Number of windows before the test text that are held out."""
    validation_split: str = "last"
    """``"last"`` for the windows before the test text, ``"test"`` for those of the test text."""
    train_images: int | None = None
    """Number of training windows that are used, drawn with `split_seed`; None for all."""
    test_images: int | None = 200
    """Number of windows at the end of the text that are the test text, >= 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        require_count(self, "length", 1)
        if self.test_images is None:
            raise ConfigurationError(
                f"{owner}.test_images = None: must be a number of windows at the end of the text, "
                "because a text has no test text of its own"
            )
        if self.validation_split == "random":
            raise ConfigurationError(
                f"{owner}.validation_split = 'random': must be last or test, so that the "
                "validation text is in one piece"
            )

    @property
    def dimensions(self) -> Dimensions:
        """Dimensions of a window: 256 symbols."""
        shape = (self.length,)
        return Dimensions(_BYTES, shape, torch.int64, shape, torch.int64)

    @abstractmethod
    def text(self, data_dir: Path) -> Tensor:
        """Return the whole text as uint8 (num_bytes,), mapped to its file.

        Args:
            data_dir: the data folder.

        Raises:
            ConfigurationError: if the text is missing.
        """

    def read(self, data_dir: Path) -> tuple[Windows, Windows, int]:
        """Cut the text into windows. What is left of it at its end is not used.

        Raises:
            ConfigurationError: if it is missing or too short.
        """
        text = self.text(data_dir)
        self._require_long_enough(len(text))
        table = text.unfold(0, self.length + 1, self.length)
        assert self.test_images is not None
        train, test = table.tensor_split([len(table) - self.test_images])
        return Windows(train), Windows(test), _BYTES

    def drawn_batch(
        self, images: ImageSet, indices: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Gather the windows of several trials, and only these as int64."""
        assert isinstance(images, Windows)
        windows = images.table[indices.flatten()].long().unflatten(0, indices.shape)
        return windows[..., :-1], windows[..., 1:]

    def preprocess(self, examples: Tensor, data_dir: Path) -> Tensor:
        """Return bytes (batch, length) of any dtype of whole numbers as int64."""
        return examples.long()

    def _require_long_enough(self, num_bytes: int) -> None:
        assert self.test_images is not None
        wanted = (self.train_images or 1) + self.validation_images + self.test_images
        found = max(num_bytes - 1, 0) // self.length
        if found < wanted:
            raise ConfigurationError(
                f"{self.name}: the text has {num_bytes:,} bytes, which are {found:,} windows of "
                f"{self.length}; must be at least {wanted:,} windows for training, validation and "
                "test; use a longer text, or a smaller length, train_images, validation_images or "
                "test_images"
            )

    def _split(self, train: ImageSet, test: ImageSet, num_classes: int) -> Splits:
        """Cut the validation text off the training text. Bytes need no check of their range."""
        assert isinstance(train, Windows)
        assert isinstance(test, Windows)
        rest, held_out = train.table.tensor_split([len(train) - self.validation_images])
        used = Windows(rest)
        if self.train_images is not None:
            used = used.take(self._permutation(len(rest), 0)[: self.train_images])
        validation = test if self.validation_split == "test" else Windows(held_out)
        return Splits(train=used, validation=validation, test=test, num_classes=num_classes)


def mapped(file: BinaryIO) -> Tensor:
    """Return the bytes of an open file as uint8 (num_bytes,), of which parts are read when needed.

    The file may be closed or removed afterwards, but must not be shortened.
    """
    file.flush()
    if not file.seek(0, 2):
        return torch.empty(0, dtype=torch.uint8)
    # A private copy may be written to, so that torch takes it for an ordinary tensor.
    return torch.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=torch.uint8)
