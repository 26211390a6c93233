"""LeastSquares: levels with the least squared distance from the weights (LSBQ)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_bool
from quantlab.quantization_sets import is_symmetric
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement, Proportional, Table

_LEAST_GAP = 8
"""Smallest distance of two levels, in rounding errors of the largest one."""


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Scale):
    """Levels +-v_1 +- ... +- v_b that minimize sum (w* - w)^2, where w is the nearest level.

    The set has 2, 3, 4, 8 or 16 levels; it only numbers the levels of a row. They are least-squares
    binary quantization (LSBQ; Pouransari et al., arXiv 2001.02786), which PARQ uses (arXiv
    2503.15748):

    - 2 levels: v_1 = mean |w*|, which is the minimum.
    - 3 levels, -s, 0 and s: if the m largest |w*| get s, the best s is their mean S_m / m, and the
      sum of squares falls by S_m^2 / m. The best m is found among all.
    - 4 levels, -v_1 - v_2, ..., v_1 + v_2: any two magnitudes are v_1 - v_2 and v_1 + v_2. Hence
      the minimum are two means of |w*|, one of the m largest and one of the others, which lower the
      sum of squares by S_m^2 / m + (S - S_m)^2 / (k - m). The best m is found among all.
    - `greedy`: v_i = mean |r_i| with r_1 = w* and r_(i+1) = r_i - v_i sign(r_i). It needs no
      sorting, and is the only way for 8 and 16 levels. With 2 levels it is the minimum, too.

    Levels of a row that would coincide are moved apart by a few rounding errors.
    """

    greedy: bool = False
    """Whether the levels are found greedily, bit by bit, instead of optimally."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bool(self, "greedy")

    def require_fits(self, levels: tuple[float, ...]) -> None:
        """Check the number of levels, and that the set is symmetric."""
        allowed = (2, 4, 8, 16) if self.greedy else (2, 3, 4)
        if len(levels) not in allowed:
            *others, last = allowed
            other = "greedy=False" if len(levels) == 3 else "greedy=True"
            hint = f"; use {other}" if len(levels) in (3, 8, 16) else ""
            raise ConfigurationError(
                f"levels = {levels}: must be {', '.join(map(str, others))} or {last} levels for "
                f"{self!r}{hint}"
            )
        if not is_symmetric(levels):
            raise ConfigurationError(
                f"levels = {levels}: must have -q for every level q for LeastSquares"
            )

    def num_stored(self, levels: tuple[float, ...]) -> int:
        """Return the number of v_i: 1 for two and three levels, then that of the bits."""
        return (len(levels) - 1).bit_length() if len(levels) > 3 else 1

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels where the squared distance is least."""
        size = latent.abs()
        match len(levels):
            case 2:
                return _symmetric(_mean(size), levels)
            case 3:
                upper, _ = _split(size, lower_counts=False)
                return _symmetric(upper, levels)
            case 4 if not self.greedy:
                upper, lower = _split(size, lower_counts=True)
                row_levels = torch.cat([-upper, -lower, lower, upper], dim=-1)
            case count:
                row_levels = _sums(_greedy(size, count.bit_length() - 1))
        return Table(_apart(row_levels), levels)


def _symmetric(scale: Tensor, levels: tuple[float, ...]) -> Placement:
    """Place the outermost levels at -scale and scale."""
    factor = (scale / levels[-1]).clamp(min=SMALLEST)
    return Proportional(factor, factor)


def _mean(size: Tensor) -> Tensor:
    return size.mean(dim=-1, keepdim=True)


def _greedy(size: Tensor, bits: int) -> list[Tensor]:
    """Return v_1, ..., v_bits of each row, (..., 1). Only the |r_i| matter for them."""
    found = [_mean(size)]
    for _ in range(bits - 1):
        size = (size - found[-1]).abs_()
        found.append(_mean(size))
    return found


def _sums(parts: list[Tensor]) -> Tensor:
    """Return all sums +-v_1 +- ... +- v_b of each row in increasing order, (..., 2^b)."""
    sums = torch.zeros_like(parts[0])
    for part in parts:
        sums = torch.cat([sums - part, sums + part], dim=-1)
    return sums.sort(dim=-1).values


def _split(size: Tensor, *, lower_counts: bool) -> tuple[Tensor, Tensor]:
    """Return the means of the m largest entries of each row and of the others, for the best m.

    Args:
        size: (..., k) entries >= 0.
        lower_counts: whether the others are replaced by their mean, or else by 0.
    """
    k = size.shape[-1]
    order = _descending(size)
    # Sums of integers are exact, so that they do not depend on the device. They fit in 63 bits.
    most = 2.0 ** min(52, 62 - k.bit_length())
    unit = order[..., :1].double().clamp(min=torch.finfo(torch.float32).tiny) / most
    sums = order.double().mul_(1 / unit).long().cumsum(dim=-1).double()
    count = torch.arange(1, k + 1, device=size.device, dtype=torch.float64)
    others = (k - count).clamp(min=1)
    rest = sums[..., -1:] - sums
    gain = sums.square().div_(count)
    if lower_counts:
        gain += rest.square().div_(others)
    best = gain.max(dim=-1, keepdim=True).indices
    upper = sums.gather(-1, best) / count[best]
    lower = rest.gather(-1, best) / others[best]
    return (upper * unit).to(size.dtype), (lower * unit).to(size.dtype)


def _descending(size: Tensor) -> Tensor:
    """Return the entries of each row from the largest to the smallest."""
    if size.is_cuda or size.dtype not in (torch.float32, torch.float64):
        return size.sort(dim=-1, descending=True).values
    # On a CPU, torch takes 17 times as long as NumPy, because it also sorts the positions.
    return torch.from_numpy(np.sort(size.detach().numpy(), axis=-1)).flip(-1)


def _apart(row_levels: Tensor) -> Tensor:
    """Return nondecreasing levels of a symmetric set as strictly increasing ones."""
    half = row_levels.shape[-1] // 2
    least = _LEAST_GAP * torch.finfo(row_levels.dtype).eps
    gap = least * row_levels[..., -1:].clamp(min=SMALLEST)
    sizes: list[Tensor] = []
    for size in row_levels[..., half:].split(1, dim=-1):
        sizes.append(torch.maximum(size, sizes[-1] + gap if sizes else gap / 2))
    upper = torch.cat(sizes, dim=-1)
    return torch.cat([-upper.flip(-1), upper], dim=-1)
