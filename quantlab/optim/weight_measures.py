"""WeightMeasures: what is measured of quantized weights at the end of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.optim.flips import Flips, flips_since
from quantlab.optim.histogram import WeightHistogram, weight_histogram
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.update_rules import Point


@dataclass(frozen=True, kw_only=True)
class WeightMeasures:
    """Measures of the quantized weights; see `quantlab.training.records.EpochRecord`."""

    gap: float
    """See `LatentOptimizer.quantization_gap`."""
    latent_distance: float
    """See `latent_distance`."""
    flips: Flips
    """Flips since the beginning of the epoch."""
    histogram: WeightHistogram | None
    """See `histogram_of`."""


def weight_measures(
    optimizer: LatentOptimizer, first_levels: Sequence[Tensor] | None
) -> WeightMeasures:
    """Measure the quantized weights.

    Args:
        optimizer: the optimizer of the weights.
        first_levels: levels at the beginning of the epoch, see `flips_since`.
    """
    return WeightMeasures(
        gap=optimizer.quantization_gap(),
        latent_distance=latent_distance(optimizer),
        flips=flips_since(first_levels, optimizer),
        histogram=histogram_of(optimizer),
    )


@torch.no_grad()
def histogram_of(optimizer: LatentOptimizer) -> WeightHistogram | None:
    """Return the histogram of w, from the lowest to the highest level; None without weights."""
    if not optimizer.groups:
        return None
    step, weights = optimizer.num_steps, []
    ranges = []
    for group in optimizer.groups:
        own = optimizer._at(group, Point.PROXIMAL)
        weights.append(own)
        ranges.append(group.shown_range(own, optimizer.pull_at(step), step))
    lows, highs = zip(*ranges, strict=True)
    return weight_histogram(weights, low=min(lows), high=max(highs))


@torch.no_grad()
def latent_distance(optimizer: LatentOptimizer) -> float:
    """Return the mean of abs(hard weight - latent weight), and 0 if nothing is quantized.

    In a lifted space, where latents are not weights, it is that of w = P(w*). Source: "Training
    Quantized Nets", Figure 7, where a latent weight near 0 is 1 away from the levels -1 and 1.
    """
    total, count = 0.0, 0
    for group in optimizer.groups:
        point = Point.LATENT if group.quantizer.num_latents == 1 else Point.PROXIMAL
        difference = optimizer._at(group, Point.HARD) - optimizer._at(group, point)
        total += float(difference.abs().sum(dtype=torch.float64))
        count += difference.numel()
    return total / count if count else 0.0
