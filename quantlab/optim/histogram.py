"""Histograms of quantized weights over the range of their quantization sets."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NUM_BINS = 41
"""Number of bins. Every level of the ProxConnect paper's sets is then at the middle of a bin."""


@dataclass(frozen=True)
class WeightHistogram:
    """Counts in `NUM_BINS` bins of equal width. Weights outside are counted in the outer bins."""

    low: float
    """Middle of the first bin, which is the lowest level."""
    high: float
    """Middle of the last bin, which is the highest level."""
    counts: tuple[int, ...]
    """Number of weights in each bin."""


def weight_histogram(weights: Iterable["Tensor"], low: float, high: float) -> WeightHistogram:
    """Count the entries of tensors of any shape. NaN is not counted.

    Args:
        weights: tensors of weights.
        low: middle of the first bin.
        high: middle of the last bin.
    """
    import torch

    counts = torch.zeros(NUM_BINS, dtype=torch.int64)
    for tensor in weights:
        places = (tensor.detach() - low) / (high - low) * (NUM_BINS - 1)
        places = places[~places.isnan()].round().clamp(0, NUM_BINS - 1)
        counts += torch.bincount(places.long(), minlength=NUM_BINS).cpu()
    return WeightHistogram(low, high, tuple(counts.tolist()))
