"""What transformers have in common: their blocks, their initialization, and their sizes."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.models.base import ModelSpec
from quantlab.plain_values import require_count, require_number

_EXPANSION = 4
"""Width of the hidden layer, in multiples of that of the block."""


@dataclass(frozen=True, kw_only=True)
class Transformer(ModelSpec):
    """The sizes of a transformer."""

    layers: int = 6
    """Number of blocks."""
    heads: int = 6
    """Number of attention heads, which divides `width`."""
    width: int = 384
    """Size of the vector at every position."""
    dropout: float = 0.0
    """Share of the numbers that are dropped from the embedding and from either branch of a block,
    in [0, 1). With dropout, trials cannot be trained in packs."""
    initial_std: float = 0.02
    """Standard deviation of the initial weights; see `initialize`."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for field in ("layers", "heads", "width"):
            require_count(self, field, 1)
        if self.width % self.heads:
            raise ConfigurationError(
                f"{owner}.heads = {self.heads}: must divide {owner}.width = {self.width}, which "
                "the heads share"
            )
        dropout = float(require_number(self, "dropout"))
        if dropout >= 1:
            raise ConfigurationError(f"{owner}.dropout = {dropout:g}: must be >= 0 and < 1")
        object.__setattr__(self, "dropout", dropout)
        std = require_number(self, "initial_std", exclusive=True)
        object.__setattr__(self, "initial_std", float(std))

    @property
    def name(self) -> str:
        """Name in tables, such as ``GPT-6x384``: layers and width."""
        return f"{type(self).__name__}-{self.layers}x{self.width}"

    def stack(self, *, is_causal: bool) -> nn.Sequential:
        """Return the blocks.

        Args:
            is_causal: see `Block`.
        """
        return nn.Sequential(
            *(
                Block(self.width, self.heads, is_causal=is_causal, dropout=self.dropout)
                for _ in range(self.layers)
            )
        )


class Block(nn.Module):
    """The pre-norm block of GPT-2: x + attention(norm(x)), then x + mlp(norm(x)).

    Linear layers have no biases, so that all of their numbers can be quantized. A block of width w
    has 12 w^2 weights in them, and 4 w numbers in two layer normalizations.
    """

    def __init__(self, width: int, heads: int, *, is_causal: bool, dropout: float = 0.0) -> None:
        """Make the layers.

        Args:
            width: size of the vector at every position.
            heads: number of attention heads, which divides `width`.
            is_causal: whether a position sees only itself and the positions before it.
            dropout: share of the numbers that are dropped from either branch in training.
        """
        super().__init__()
        self._heads, self._is_causal = heads, is_causal
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, _EXPANSION * width, bias=False)
        self.contract = nn.Linear(_EXPANSION * width, width, bias=False)
        self.drop = dropping(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, width) to the same shape."""
        x = x + self.drop(self.out(self._attention(self.qkv(self.norm1(x)))))
        hidden = F.gelu(self.expand(self.norm2(x)))
        together: Tensor = x + self.drop(self.contract(hidden))
        return together

    def _attention(self, qkv: Tensor) -> Tensor:
        # (batch, length, 3, heads, size of a head) -> 3 x (batch, heads, length, size of a head)
        query, key, value = qkv.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self._is_causal)
        return mixed.transpose(1, 2).flatten(2)


def dropping(share: float) -> nn.Module:
    """Return dropout; without it, a layer that draws no random numbers, so that packs can hold it.

    Args:
        share: share of the numbers that are dropped in training.
    """
    return nn.Dropout(share) if share else nn.Identity()


def initialize(model: nn.Module, std: float) -> None:
    """Draw the weights as GPT-2 does.

    Weights of linear layers, convolutions and embeddings are drawn from N(0, std^2). Those of the
    last layer of either branch of a block are divided by sqrt(2 x blocks), so that the sum over all
    branches does not grow with their number (Radford et al., "Language Models are Unsupervised
    Multitask Learners", 2019). Biases begin with 0, and layer normalization with scales of 1.

    Args:
        model: a network with blocks.
        std: the standard deviation.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for block in blocks:
        for layer in (block.out, block.contract):
            nn.init.normal_(layer.weight, std=std / math.sqrt(2 * len(blocks)))
