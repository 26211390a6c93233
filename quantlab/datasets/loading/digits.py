"""Digits of float64 and of large whole numbers that float32 does not have."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantlab.errors import ConfigurationError

_WIDE = (torch.float64, torch.int64, torch.int32)
"""Types with numbers that float32 does not have."""
_ROUNDING = 2.0**-24
"""Largest rounding error of a float32, in units of the number."""
_SOME = 2**14
"""Number of rows that are looked at first."""
_MUCH = 2.0**-6
"""Rounding error, in standard deviations, with which numbers are refused."""


def moments(
    values: Tensor, rows: Tensor, at_once: int, *, per_channel: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute the mean and the standard deviation of some rows in float64.

    Args:
        values: (num_rows, channels, ...) numbers of any type.
        rows: (num_examples,) positions among the rows.
        at_once: number of rows that are converted to float64 together.
        per_channel: whether to compute one of each per channel.

    Returns:
        Two arrays (channels,); or two numbers.
    """
    kept = (1,) if per_channel else ()
    axes = tuple(axis for axis in range(values.dim()) if axis not in kept)
    count = len(rows) * values[0].numel() // (values.shape[1] if kept else 1)

    def total(of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Any:
        # NumPy adds up in the same order with any number of threads.
        parts = _parts(values, rows, at_once)
        return sum(of(part.double().numpy()).sum(axis=axes) for part in parts)

    mean = total(lambda part: part) / count
    spread = mean.reshape(-1, *[1] * (values.dim() - 2)) if kept else mean
    return mean, np.sqrt(total(lambda part: np.square(part - spread)) / count)


def rounding(mean: Any, std: Any, dtype: torch.dtype) -> float:
    """Return the rounding error of numbers of the size of their mean, in standard deviations.

    Args:
        mean: means.
        std: standard deviations, > 0.
        dtype: type of the numbers, before they become float32.
    """
    if dtype not in _WIDE:
        return 0.0
    if not dtype.is_floating_point and np.abs(mean).max() < 2**23:
        return 0.0  # such whole numbers have no more digits
    return float(np.max(np.abs(mean) / std)) * _ROUNDING


def are_kept(values: Tensor, rows: Tensor, at_once: int) -> bool:
    """Whether float32 has all digits of the numbers in some rows."""
    if values.dtype not in _WIDE:
        return True
    parts = _parts(values, rows, at_once)
    return all(torch.equal(part.float().double(), part.double()) for part in parts)


def varies(values: Tensor, rows: Tensor, at_once: int) -> bool:
    """Whether not all numbers in some rows are equal."""
    first = values[rows[0]].flatten()[0].cpu()
    return any(bool((part != first).any()) for part in _parts(values, rows, at_once))


def normalized(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return inputs minus their mean, divided by their standard deviation, as float32.

    Args:
        inputs: (batch, channels, ...) numbers of any type.
        mean: broadcasts with an input; float64 if inputs have digits that float32 would lose, and
            otherwise float32.
        std: float32, broadcasts with an input.
    """
    difference: Tensor = (inputs.to(mean.dtype) - mean).float()
    return difference / std


def require_digits(
    what: str, values: Tensor, rows: Tensor, at_once: int, numbers: tuple[Tensor, ...] | None = None
) -> None:
    """Check that float32 does not merge most of the numbers of a channel that differ.

    Args:
        what: name of the array, such as ``"x.npy"``.
        values: (num_rows, channels, ...) finite numbers of any type.
        rows: (num_examples,) positions of the training examples among the rows.
        at_once: number of rows that are looked at together.
        numbers: mean and standard deviation, see `normalized`; None if they are not normalized.

    Raises:
        ConfigurationError: if it does. The message names the first such channel.
    """
    if not values[0].numel() or (numbers is None and values.dtype not in _WIDE):
        return
    shift = 0.0 if numbers is None else numbers[0].flatten().cpu().double().numpy()
    # Most arrays are far from it, which some of the rows tell.
    some = rows[:: -(-len(rows) // _SOME)]
    if not _differ_little(values, some, at_once, shift, _MUCH / 16).any():
        return
    # A small deviation is not enough, because it may be that of a few numbers among equal ones.
    for channel in _differ_little(values, rows, at_once, shift, _MUCH).nonzero()[0]:
        own = values[:, channel, None][rows].cpu()
        if numbers is None:
            seen = own.float()
        else:
            seen = normalized(
                own, *(each[channel if len(each) > 1 else 0, None] for each in numbers)
            )
        if len(seen.unique()) <= len(own.unique()) / 2:
            raise ConfigurationError(
                f"{what}: the numbers in channel {channel} differ by little for their size: most "
                f"of those from {float(own.min()):.17g} to {float(own.max()):.17g} are equal as "
                "float32; subtract a constant from them"
            )


def _differ_little(
    values: Tensor, rows: Tensor, at_once: int, shift: Any, most: float
) -> npt.NDArray[np.bool_]:
    """Whether the rounding error of each channel is more than so many standard deviations."""
    center, width = moments(values, rows, at_once, per_channel=True)
    return np.asarray(np.abs(center - shift) * _ROUNDING > most * width)


def _parts(values: Tensor, rows: Tensor, at_once: int) -> Iterator[Tensor]:
    for part in rows.sort().values.split(at_once):  # in the order of the file
        yield values[part].cpu()
