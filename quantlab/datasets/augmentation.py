"""Random crops and flips of whole batches."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab.errors import ConfigurationError


@dataclass(frozen=True)
class CropFlip:
    """Pad by black pixels, crop back at random, mirror left to right at random.

    With `padding` 4 and flips, the augmentation of the ProxConnect paper, B.1.2.
    """

    padding: int = 4
    """Pixels added on each side before the crop, >= 0."""
    flip: bool = True
    """Mirror with probability one half."""

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ConfigurationError(f"CropFlip.padding = {self.padding}: must be >= 0")

    def __call__(self, pixels: Tensor, *generators: torch.Generator) -> Tensor:
        """Augmented copies, each image with its own shift and its own flip.

        Args:
            pixels: (num_images, channels, height, width) uint8.
            generators: CPU generators; images of any device get the same random numbers. Several
                draw for an equal share of the images each, in their order.

        Returns:
            As `pixels`.
        """
        count, _, height, width = pixels.shape
        share = count // len(generators)
        shifts, flips = [], []
        for generator in generators:
            shifts.append(torch.randint(0, 2 * self.padding + 1, (2, share), generator=generator))
            if self.flip:
                flips.append(torch.rand(share, generator=generator) < 0.5)
        rows, columns = torch.cat(shifts, dim=1)
        image = torch.arange(count)
        # All crops of all images are views of the padded ones, of which each image picks one; a
        # mirrored crop is a crop of the mirrored image.
        padded = F.pad(pixels, (self.padding,) * 4)
        if self.flip:
            mirrored = torch.cat(flips)
            padded = torch.cat((padded, padded.flip(3)))
            columns = torch.where(mirrored, 2 * self.padding - columns, columns)
            image = torch.where(mirrored, image + count, image)
        crops = padded.unfold(2, height, 1).unfold(3, width, 1)
        image, rows, columns = (index.to(pixels.device) for index in (image, rows, columns))
        return crops[image, :, rows, columns]
