"""LanguageModelling: prediction of the next symbol at every position of a sequence."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.tasks.base import Fraction, LowerIsBetter, Metric, Task, described_outputs
from quantlab.tasks.divergence import softened_divergence


def _nats(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of each sequence's symbols, in nats."""
    each = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(dim=1)


@dataclass(frozen=True)
class _CrossEntropy(LowerIsBetter):
    """A function of the mean cross-entropy of a symbol, in nats."""

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean nats of each sequence."""
        return _nats(outputs, targets)


@dataclass(frozen=True)
class BitsPerSymbol(_CrossEntropy):
    """Cross-entropy of a symbol in bits; of a byte, if the symbols are bytes."""

    symbol: str = "byte"
    """Name of a symbol, such as ``"byte"``, ``"token"`` or ``"character"``."""

    @property
    def name(self) -> str:
        """``"bits_per_byte"``."""
        return f"bits_per_{self.symbol}"

    @property
    def label(self) -> str:
        """``"cross-entropy"``."""
        return "cross-entropy"

    @property
    def unit(self) -> str:
        """``"bits a byte"``."""
        return f"bits a {self.symbol}"

    @property
    def digits(self) -> int:
        """3."""
        return 3

    def of_mean(self, mean: float) -> float:
        """Return nats as bits."""
        return mean / math.log(2)


@dataclass(frozen=True)
class Perplexity(_CrossEntropy):
    """exp of the cross-entropy: of how many equally probable symbols the network is unsure."""

    @property
    def name(self) -> str:
        """``"perplexity"``."""
        return "perplexity"

    @property
    def digits(self) -> int:
        """2."""
        return 2

    @property
    def least(self) -> float:
        """1."""
        return 1.0

    def of_mean(self, mean: float) -> float:
        """Return exp of the nats."""
        return math.exp(mean) if mean < _LARGEST_EXPONENT else math.inf


_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class SymbolAccuracy(Fraction):
    """Fraction of symbols that have the highest logit."""

    @property
    def name(self) -> str:
        """``"symbol_accuracy"``."""
        return "symbol_accuracy"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the fraction of each sequence."""
        return (outputs.argmax(dim=2) == targets).double().mean(dim=1)


@dataclass(frozen=True)
class LanguageModelling(Task):
    """Cross-entropy of (batch, length, num_symbols) logits against the next symbols.

    The loss is in nats, and the main metric in bits per symbol. Bits per byte do not depend on how
    a text is cut into symbols.
    """

    symbol: str = "byte"
    """Name of a symbol, in the names of metrics."""

    def __post_init__(self) -> None:
        if not (isinstance(self.symbol, str) and self.symbol.isidentifier()):
            raise ConfigurationError(
                f"LanguageModelling.symbol = {self.symbol!r}: must be a word, such as 'byte'"
            )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Bits per symbol, perplexity and accuracy."""
        return (BitsPerSymbol(self.symbol), Perplexity(), SymbolAccuracy())

    def each_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of each sequence."""
        return _nats(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of all symbols, in one call of torch."""
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def each_distillation_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float
    ) -> Tensor:
        """Return the mean of T^2 KL(teacher || network) over the symbols of each sequence."""
        return softened_divergence(outputs, teacher_outputs, temperature).mean(dim=1)

    def guess(self, num_outputs: int) -> float:
        """Return log2 of the number of symbols."""
        return math.log2(num_outputs)

    def require_outputs(
        self, model: nn.Module, outputs: object, targets: Tensor, num_outputs: int
    ) -> None:
        """Check that targets are sequences, and that there is one logit per symbol of them."""
        if targets.is_floating_point() or targets.dim() != 2:
            raise ConfigurationError(
                f"LanguageModelling: targets have the type {targets.dtype} and the shape "
                f"{tuple(targets.shape[1:])} for each example; must be a sequence of symbols, "
                "whole numbers"
            )
        shape = (*targets.shape, num_outputs)
        if isinstance(outputs, Tensor) and outputs.shape == shape:
            return
        raise ConfigurationError(
            f"{type(model).__name__}.forward returned {described_outputs(outputs)} for "
            f"{len(targets)} sequences of {targets.shape[1:].numel()} symbols; must return a "
            f"tensor of shape {shape}, one logit per symbol and position"
        )
