"""How quantized weights are spread over the range of their quantization sets."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_BINS = 41
"""With so many, every level of the ProxConnect paper's sets stands in the middle of a bin."""


@dataclass(frozen=True)
class WeightHistogram:
    """Counts in `NUM_BINS` bins of equal width; whatever lies outside is in the outer ones."""

    low: float
    """The middle of the first bin: the lowest level."""
    high: float
    """The middle of the last bin: the highest level."""
    counts: tuple[int, ...]


def weight_histogram(weights: Iterable[Tensor], low: float, high: float) -> WeightHistogram:
    """Count weights of any shape, in bins from one level to another; NaN is left out."""
    counts = torch.zeros(NUM_BINS, dtype=torch.int64)
    for tensor in weights:
        places = (tensor.detach() - low) / (high - low) * (NUM_BINS - 1)
        places = places[~places.isnan()].round().clamp(0, NUM_BINS - 1)
        counts += torch.bincount(places.long(), minlength=NUM_BINS).cpu()
    return WeightHistogram(low, high, tuple(counts.tolist()))
