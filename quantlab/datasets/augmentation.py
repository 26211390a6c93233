"""Random crops and flips of whole batches."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab.plain_values import require_count


@dataclass(frozen=True)
class CropFlip:
    """Pad with black pixels, crop to the original size at random, and mirror at random.

    With `padding` 4 and `flip`, it is the augmentation of the ProxConnect paper, B.1.2.
    """

    padding: int = 4
    """Number of pixels that are added on each side before the crop, >= 0."""
    flip: bool = True
    """Whether images are mirrored left to right with probability one half."""

    def __post_init__(self) -> None:
        require_count(self, "padding", 0)

    def __call__(self, pixels: Tensor, *generators: torch.Generator) -> Tensor:
        """Return augmented copies. Each image has its own shift and its own flip.

        Args:
            pixels: (num_images, channels, height, width) uint8.
            generators: CPU generators, so that random numbers are the same on every device. Each
                generator draws for an equal share of the images, in their order.

        Returns:
            Augmented images, of the shape and dtype of `pixels`.
        """
        return self.apply(pixels, self.draw(len(pixels), *generators).to(pixels.device))

    def draw(self, count: int, *generators: torch.Generator) -> Tensor:
        """Draw the random numbers of `apply` in advance.

        Args:
            count: number of images.
            generators: see `__call__`.

        Returns:
            (3, count) int64 on the CPU: position among the images and their mirror images, first
            row of the crop, and first column of the crop.
        """
        share = count // len(generators)
        shifts, flips = [], []
        for generator in generators:
            shifts.append(torch.randint(0, 2 * self.padding + 1, (2, share), generator=generator))
            if self.flip:
                flips.append(torch.rand(share, generator=generator) < 0.5)
        rows, columns = torch.cat(shifts, dim=1)
        image = torch.arange(count)
        if self.flip:  # a mirrored crop is a crop of the mirrored image
            mirrored = torch.cat(flips)
            columns = torch.where(mirrored, 2 * self.padding - columns, columns)
            image = torch.where(mirrored, image + count, image)
        return torch.stack((image, rows, columns))

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """Return augmented copies.

        Args:
            pixels: (num_images, channels, height, width) uint8.
            drawn: random numbers of `draw`, on the device of the pixels.
        """
        _, _, height, width = pixels.shape
        # All crops of an image are views of the padded image; each image selects one of them.
        padded = F.pad(pixels, (self.padding,) * 4)
        if self.flip:
            padded = torch.cat((padded, padded.flip(3)))
        crops = padded.unfold(2, height, 1).unfold(3, width, 1)
        image, rows, columns = drawn.unbind()
        return crops[image, :, rows, columns]
