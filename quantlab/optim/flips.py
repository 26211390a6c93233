"""Flips: how many quantized weights change their level within an epoch, and how far they move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from quantlab.optim.buffers import QuantizedWeights
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import constant
from quantlab.update_rules import Point


@dataclass(frozen=True)
class Flips:
    """The quantized weights whose hard level at the end of an epoch is not that at its beginning.

    A weight that leaves its level and is back at the end of the epoch is not among them.
    """

    rate: float
    """Share of these weights among all quantized weights; 0 if nothing is quantized."""
    median_rate: float
    """Median over the quantized tensors of the share in each of them, so that a large tensor does
    not hide the others; 0 if nothing is quantized."""
    distance: float
    """Median over these weights of the distance between the latent weight at the end of the epoch
    and the nearest middle of a gap of the quantization set, where the level changes, in widths of
    this gap; NaN without such weights. It is near 0 if weights oscillate around a middle, and 1/2
    at a level. In a lifted space, where latents are not weights, it is that of w = P(w*)."""


UNKNOWN_FLIPS = Flips(math.nan, math.nan, math.nan)
"""Flips of an epoch whose first levels are not known, as in a checkpoint of an earlier release."""


@torch.no_grad()
def levels_of(optimizer: LatentOptimizer) -> list[Tensor]:
    """Return the level of every hard weight, as its position in the quantization set.

    Positions stay the same if a scale moves the levels.

    Returns:
        For each buffer of the optimizer, a flat tensor of uint8, or of int32 with more than 256
        levels; the hard weights themselves if the set is not bounded.
    """
    return [_positions(optimizer, group) for group in optimizer.groups]


@torch.no_grad()
def flips_since(levels: Sequence[Tensor] | None, optimizer: LatentOptimizer) -> Flips:
    """Compare the levels of the hard weights with those of an earlier step.

    Args:
        levels: what `levels_of` returned for the same optimizer; None if they are not known.
        optimizer: the optimizer of the weights.
    """
    if levels is None:
        return UNKNOWN_FLIPS
    shares: list[tuple[Tensor, int]] = []
    distances: list[Tensor] = []
    for group, earlier in zip(optimizer.groups, levels, strict=True):
        has_flipped = _positions(optimizer, group) != earlier.to(group.proximal.device)
        shares += [(part.count_nonzero(), part.numel()) for part in group.views(has_flipped)]
        distances.append(_distances_from_middles(optimizer, group, has_flipped).double())
    if not shares:
        return Flips(0.0, 0.0, math.nan)
    counts: list[int] = torch.stack([count for count, _ in shares]).tolist()
    sizes = [size for _, size in shares]
    distances.append(distances[0].new_full((1,), math.nan))  # one is read, even if none flips
    distance = float(torch.cat(distances).cpu().nanmedian())  # not deterministic on every device
    return Flips(
        rate=sum(counts) / sum(sizes),
        median_rate=median(count / size for count, size in zip(counts, sizes, strict=True)),
        distance=math.nan if math.isnan(distance) else distance,
    )


def _positions(optimizer: LatentOptimizer, group: QuantizedWeights) -> Tensor:
    hard = optimizer._at(group, Point.HARD)
    if not group.quantizer.is_bounded:
        return hard.clone()
    hard = _at_least_float32(hard)
    if group.map.scale is None:
        middles = constant(_middles(group.quantizer.levels), hard.dtype, hard.device)
        positions = torch.bucketize(hard, middles, out_int32=True, right=True)
    else:
        step = optimizer.num_steps
        of_rows = (levels for _, levels in group.levels(optimizer.pull_at(step), step))
        pairs = zip(group.views(hard), of_rows, strict=True)
        positions = torch.cat([_positions_in_rows(part, levels) for part, levels in pairs])
    return positions.to(torch.uint8) if len(group.quantizer.levels) <= 256 else positions


def _positions_in_rows(hard: Tensor, levels: Tensor) -> Tensor:
    """Return the positions of hard weights among the levels (rows, number of levels) of rows."""
    levels = _at_least_float32(levels)
    middles = levels[:, :-1] + levels.diff() / 2
    rows = hard.reshape(len(levels), -1)
    return torch.searchsorted(middles, rows, out_int32=True, right=True).flatten()


def _distances_from_middles(
    optimizer: LatentOptimizer, group: QuantizedWeights, chosen: Tensor
) -> Tensor:
    """Return the distances of weights from the nearest middle, in widths of its gap.

    Args:
        optimizer: the optimizer of the weights.
        group: a buffer of the optimizer.
        chosen: for each weight of the buffer, whether its distance is wanted.
    """
    quantizer = group.quantizer
    point = Point.LATENT if quantizer.num_latents == 1 else Point.PROXIMAL
    weights = _at_least_float32(optimizer._at(group, point))
    if not quantizer.is_bounded:
        weights = weights[chosen]
        width = quantizer.some_levels[1] - quantizer.some_levels[0]
        return 0.5 - (weights - quantizer.hard(weights)).abs() / width
    if group.map.scale is not None:
        weights = group.map_at(weights).unit(weights)
    weights = weights[chosen]
    levels = quantizer.levels
    middles = constant(_middles(levels), weights.dtype, weights.device)
    widths = constant(
        tuple(high - low for low, high in pairwise(levels)), weights.dtype, weights.device
    )
    ends = constant(_middles(_middles(levels)), weights.dtype, weights.device)
    nearest = torch.bucketize(weights, ends)
    return (weights - middles[nearest]).abs() / widths[nearest]


def _middles(points: Sequence[float]) -> tuple[float, ...]:
    return tuple((low + high) / 2 for low, high in pairwise(points))


def _at_least_float32(weights: Tensor) -> Tensor:
    return weights.float() if weights.dtype in (torch.float16, torch.bfloat16) else weights
