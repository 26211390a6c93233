"""GPT: a language model of symbols, such as bytes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.models.transformers.block import Transformer, dropping, initialize
from quantlab.plain_values import require_bool, require_count
from quantlab.tasks.dimensions import Dimensions


@dataclass(frozen=True, kw_only=True)
class GPT(Transformer):
    """Causal pre-norm transformer with learned positions, which predicts the next symbol.

    It is GPT-2 (Radford et al., 2019) without biases in linear layers. With S symbols it has
    S w + context w + 12 layers w^2 + (4 layers + 2) w parameters for the width w, and S w more for
    the head unless it is tied.
    """

    context: int = 256
    """Largest length of a sequence."""
    tied: bool = True
    """Whether the head has the weights of the embedding of the symbols."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "context", 1)
        require_bool(self, "tied")

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network for sequences of symbols.

        Raises:
            ConfigurationError: if the data is no sequence of symbols, or a too long one.
        """
        shape = dimensions.input
        if dimensions.dtype != torch.int64 or len(shape) != 1:
            raise ConfigurationError(
                f"{self.name}: inputs have the shape {shape} and the type {dimensions.dtype}; must "
                "be sequences of symbols (length,) of torch.int64, such as those of ByteText"
            )
        if shape[0] > self.context:
            raise ConfigurationError(
                f"GPT.context = {self.context}: must be at least {shape[0]}, the length of the "
                "sequences of the dataset"
            )
        symbols, following = dimensions.symbols, dimensions.num_classes
        assert symbols is not None  # inputs are whole numbers
        if self.tied and symbols != following:
            raise ConfigurationError(
                f"GPT.tied = True: must be False, because inputs have {symbols} symbols, and "
                f"targets {following}"
            )
        return _GPT(self, symbols, following)


class _GPT(nn.Module):
    def __init__(self, spec: GPT, num_symbols: int, num_outputs: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_symbols, spec.width)
        self.positions = nn.Embedding(spec.context, spec.width)
        self.drop = dropping(spec.dropout)
        self.blocks = spec.stack(is_causal=True)
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, num_outputs, bias=False)
        initialize(self, spec.initial_std)
        if spec.tied:
            self.head.weight = self.symbols.weight

    def forward(self, symbols: Tensor) -> Tensor:
        """Map (batch, length) symbols to (batch, length, num_outputs) logits."""
        x = self.symbols(symbols) + self.positions.weight[: symbols.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(self.drop(x))))
        return logits
