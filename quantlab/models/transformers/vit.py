"""ViT: a transformer of the patches of an image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.models.transformers.block import Transformer, dropping, initialize
from quantlab.plain_values import require_count
from quantlab.tasks.dimensions import Dimensions

_POOLINGS = ("mean", "class")


@dataclass(frozen=True, kw_only=True)
class ViT(Transformer):
    """Vision transformer of Dosovitskiy et al. (ICLR 2021) with learned positions.

    The image is cut into square patches, each of which a convolution turns into a vector. Linear
    layers of blocks have no biases. The patches' vectors are averaged in the end, or the class is
    read from a further, learned vector.
    """

    patch: int = 4
    """Height and width of a patch in pixels. They must divide those of the images."""
    pooling: str = "mean"
    """What the class is predicted from: ``"mean"`` for the mean over the patches, ``"class"`` for a
    learned vector beside them, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "patch", 1)
        if self.pooling not in _POOLINGS:
            raise ConfigurationError(
                f"ViT.pooling = {self.pooling!r}: must be one of {', '.join(_POOLINGS)}"
            )

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network for images.

        Raises:
            ConfigurationError: if the data is no image, or patches do not divide it.
        """
        shape = dimensions.input
        if len(shape) != 3:
            raise ConfigurationError(
                f"{self.name}: inputs have the shape {shape}; must be images (channels, height, "
                "width)"
            )
        if shape[1] % self.patch or shape[2] % self.patch:
            raise ConfigurationError(
                f"ViT.patch = {self.patch}: must divide {shape[1]} and {shape[2]}, the height and "
                "width of the images"
            )
        return _ViT(self, dimensions.num_classes, shape)


class _ViT(nn.Module):
    def __init__(self, spec: ViT, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        count = (height // spec.patch) * (width // spec.patch)
        self.patches = nn.Conv2d(channels, spec.width, spec.patch, stride=spec.patch)
        self.label = nn.Embedding(1, spec.width) if spec.pooling == "class" else None
        self.positions = nn.Embedding(count + (self.label is not None), spec.width)
        self.drop = dropping(spec.dropout)
        self.blocks = spec.stack(is_causal=False)
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, num_classes)
        initialize(self, spec.initial_std)

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, channels, height, width) images to (batch, num_classes) logits."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        if self.label is not None:
            x = torch.cat([self.label.weight.expand(len(x), 1, -1), x], dim=1)
        x = self.norm(self.blocks(self.drop(x + self.positions.weight)))
        logits: Tensor = self.head(x.mean(dim=1) if self.label is None else x[:, 0])
        return logits
