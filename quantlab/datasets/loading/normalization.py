"""Normalization: the mean and the standard deviation of inputs, given or computed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import floats, plain, require_bool


@dataclass(frozen=True)
class Normalization:
    """Inputs minus their mean, divided by their standard deviation.

    Without numbers they are computed in float64 from the training examples, without those that are
    held out.
    """

    mean: tuple[float, ...] | None = None
    """Means: one for all numbers of an input, or one per channel; None to compute them."""
    std: tuple[float, ...] | None = None
    """Standard deviations, > 0, as many as there are means; None to compute them."""
    per_channel: bool = True
    """Whether a mean is computed for each channel, which is a place in the first axis of an input:
    a number of a vector, or a channel of a signal. Otherwise one is computed for all numbers."""

    def __post_init__(self) -> None:
        require_bool(self, "per_channel")
        if (self.mean is None) != (self.std is None):
            missing = "mean" if self.mean is None else "std"
            raise ConfigurationError(
                f"Normalization.{missing} = None: must have numbers, because the other one of mean "
                "and std has them; give both or none"
            )
        if self.mean is not None:
            require_mean_and_std(self)

    def numbers_for(self, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return the given mean and standard deviation for inputs of a shape.

        Args:
            shape: shape of an input: (channels, ...).

        Returns:
            Two float32 tensors that broadcast with an input.

        Raises:
            ConfigurationError: if there is neither one number nor one per channel.
        """
        assert self.mean is not None
        assert self.std is not None
        if len(self.mean) not in (1, shape[0]):
            raise ConfigurationError(
                f"Normalization.mean = {brief(self.mean)}: must have 1 number or {shape[0]}, one "
                "per channel of the inputs, and so must std"
            )
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return _spread(mean, len(shape)), _spread(std, len(shape))

    def computed_from(self, inputs: Tensor, rows: Tensor, at_once: int) -> tuple[Tensor, ...]:
        """Compute the mean and the standard deviation of inputs.

        Args:
            inputs: (num_rows, channels, ...) numbers of any type.
            rows: (num_examples,) positions of the training examples among the rows.
            at_once: number of rows that are converted to float64 together.

        Returns:
            Two float32 tensors that broadcast with an input.

        Raises:
            ConfigurationError: if a channel is constant, or has numbers that are not finite.
        """
        kept = (1,) if self.per_channel else ()
        axes = tuple(axis for axis in range(inputs.dim()) if axis not in kept)
        count = len(rows) * inputs[0].numel() // (inputs.shape[1] if kept else 1)
        parts = rows.sort().values.split(at_once)  # in the order of the file

        def total(of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Any:
            # NumPy adds up in the same order with any number of threads.
            return sum(of(inputs[part].cpu().double().numpy()).sum(axis=axes) for part in parts)

        mean = total(lambda values: values) / count
        spread = mean.reshape(-1, *[1] * (inputs.dim() - 2)) if kept else mean
        std = np.sqrt(total(lambda values: np.square(values - spread)) / count)
        if not np.isfinite(std).all():
            raise ConfigurationError(
                "Normalization: the training inputs have numbers that are infinite or NaN, so they "
                "have no mean; remove them, or give mean and std"
            )
        for channel, (center, width) in enumerate(zip(mean.flat, std.flat, strict=True)):
            if width == 0:
                what = f"channel {channel} of the" if kept else "the"
                raise ConfigurationError(
                    f"Normalization: {what} training inputs is {center:g} everywhere, so it has no "
                    "standard deviation; remove it, or give mean and std"
                )
        return tuple(
            _spread(torch.from_numpy(np.atleast_1d(each)).float(), inputs.dim() - 1)
            for each in (mean, std)
        )


def require_mean_and_std(owner: Any) -> None:
    """Check the fields `mean` and `std`, and store them as tuples of Python numbers.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass with these fields.

    Raises:
        ConfigurationError: if they are not as many finite numbers, or if one of `std` is not > 0.
    """
    name = type(owner).__name__
    for field in ("mean", "std"):
        values = plain(getattr(owner, field))
        try:
            numbers = floats(values)
        except (TypeError, ValueError):
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            raise ConfigurationError(
                f"{name}.{field} = {brief(values)}: must be finite numbers, one per channel"
            )
        object.__setattr__(owner, field, numbers)
    if any(value <= 0 for value in owner.std):
        raise ConfigurationError(f"{name}.std = {owner.std}: must be numbers > 0")
    if len(owner.mean) != len(owner.std):
        raise ConfigurationError(
            f"{name}.std = {owner.std}: must have as many numbers as {name}.mean, which has "
            f"{len(owner.mean)}"
        )


def _spread(numbers: Tensor, dims: int) -> Tensor:
    """Return numbers (channels,) as (channels, 1, ...), or a single number as (1, 1, ...)."""
    return numbers.view(-1, *[1] * (dims - 1))
