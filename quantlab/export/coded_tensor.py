"""CodedTensor: a weight tensor as codes, with the levels of each of its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.export.packing import MOST_LEVELS, pack, unpack


@dataclass(frozen=True, kw_only=True)
class CodedTensor:
    """A float32 tensor of n weights in R rows of adjacent weights, n / R in each.

    The weight with the code c in row r is the level c of that row: ``levels[r, c]``, or
    ``scales[r] * levels[c]``, computed in float32, if there are scales.
    """

    shape: tuple[int, ...]
    """Shape of the tensor. Rows are taken from its numbers in row-major order."""
    num_rows: int
    """R: 1 for levels of the whole tensor, the number of output channels for levels per channel, or
    the number of blocks."""
    levels: Tensor
    """(R, L) float32 levels of the rows, or (L,) if there are scales."""
    scales: Tensor | None
    """(R,) float32 scales; None if the levels of each row are given."""
    packed: Tensor
    """Codes of the weights, packed as uint8; see `quantlab.export.packing`."""

    @property
    def num_levels(self) -> int:
        """The number of levels L."""
        return self.levels.shape[-1]

    @property
    def num_weights(self) -> int:
        """The number of weights n."""
        return torch.Size(self.shape).numel()

    @property
    def num_bytes(self) -> int:
        """The number of bytes of the codes, levels and scales."""
        numbers = self.levels.numel() + (0 if self.scales is None else self.scales.numel())
        return self.packed.numel() + 4 * numbers

    def decoded(self) -> Tensor:
        """Return the weights.

        Raises:
            ValueError: if the fields do not fit together, which only those of a file may not do.
        """
        if self.num_rows < 1 or self.num_weights % self.num_rows:
            raise ValueError(f"{self.num_rows} rows of {self.num_weights} weights")
        table = self.levels
        if self.scales is not None:
            table = self.scales[:, None] * self.levels
        if table.shape != (self.num_rows, self.num_levels):
            raise ValueError("levels of another number of rows")
        codes = unpack(self.packed, self.num_weights, self.num_levels).view(self.num_rows, -1)
        return table.gather(1, codes.to(torch.int64)).view(self.shape)


def coded(
    weights: Tensor, levels: tuple[float, ...], *, num_rows: int = 1, is_scaled: bool = False
) -> CodedTensor | None:
    """Find codes from which the weights can be restored bit for bit.

    Three descriptions are tried: the quantization set itself, a scale for each row and the set,
    and the different numbers that each row has.

    Args:
        weights: hard weights.
        levels: quantization set that they were projected onto; empty if it is unbounded.
        num_rows: number of rows that have levels of their own.
        is_scaled: whether the levels of a row are multiples of the set.

    Returns:
        The codes; None if the weights are not float32, if a row has more than 256 different
        numbers, or if codes take as many bytes as the weights.
    """
    if weights.dtype is not torch.float32 or not weights.numel():
        return None
    rows = weights.detach().cpu().reshape(num_rows, -1)
    given = torch.tensor(levels, dtype=torch.float32)
    found = None
    if 0 < len(levels) <= MOST_LEVELS:  # an unbounded set has no list of levels
        found = _of_scaled_set(rows, given) if is_scaled else _of_set(rows, given)
    if found is None:
        found = _of_rows(rows)
    if found is None:
        return None
    codes, levels_of_rows, scales = found
    result = CodedTensor(
        shape=tuple(weights.shape),
        num_rows=num_rows if scales is not None or len(levels_of_rows) > 1 else 1,
        levels=levels_of_rows,
        scales=scales,
        packed=pack(codes.flatten(), levels_of_rows.shape[-1]),
    )
    return result if result.num_bytes < 4 * weights.numel() else None


_Found = tuple[Tensor, Tensor, Tensor | None]
"""uint8 codes of the shape of the rows, levels and scales."""


def _of_set(rows: Tensor, levels: Tensor) -> _Found | None:
    places = _places_in(levels[None], rows.view(1, -1))
    return None if (places < 0).any() else (places.to(torch.uint8), levels[None], None)


def _of_scaled_set(rows: Tensor, levels: Tensor) -> _Found | None:
    """Find the level that is the largest weight of each row, and with it the row's scale."""
    largest = rows.abs().amax(dim=1)
    scales = torch.ones_like(largest)
    is_found = largest == 0
    for level in levels.abs().unique().flip(0):
        tried = torch.where(is_found, scales, largest / level) if level > 0 else scales
        is_found = (_places_in(tried[:, None] * levels, rows) >= 0).all(dim=1)
        scales = torch.where(is_found, tried, scales)
        if is_found.all():
            break
    places = _places_in(scales[:, None] * levels, rows)
    return None if (places < 0).any() else (places.to(torch.uint8), levels, scales)


def _of_rows(rows: Tensor) -> _Found | None:
    """Number the different weights of each row in ascending order."""
    ordered, places = _sortable(rows).sort(dim=1)
    is_new = torch.zeros_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    numbers = is_new.cumsum(dim=1)
    if (most := int(numbers[:, -1].max()) + 1) > MOST_LEVELS:
        return None
    values = rows.gather(1, places)
    levels = values[:, -1:].repeat(1, most)  # rows with fewer levels repeat the last one
    levels.scatter_(1, numbers, values)
    codes = torch.empty_like(rows, dtype=torch.uint8)
    codes.scatter_(1, places, numbers.to(torch.uint8))
    return codes, levels, None


def _places_in(table: Tensor, rows: Tensor) -> Tensor:
    """Return the place of each weight in the ascending table of its row, or -1 if it is missing."""
    places = torch.searchsorted(table.contiguous(), rows.contiguous())
    places.clamp_(max=table.shape[1] - 1)
    found = table.gather(1, places).view(torch.int32)
    return torch.where(found == rows.contiguous().view(torch.int32), places, -1)


def _sortable(values: Tensor) -> Tensor:
    """Return integers in the order of the numbers, among which -0 and 0 differ."""
    bits = values.contiguous().view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
