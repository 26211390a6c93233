"""Normalization: the mean and the standard deviation of inputs, given or computed."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantlab.datasets.loading.digits import are_kept, moments, rounding, varies
from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import floats, plain, require_bool

_LITTLE = 2.0**-10
"""Rounding error of an input as float32, in standard deviations, that does not matter."""
_CONSTANT = 2.0**-30
"""Standard deviation of constant numbers, which is a rounding error, in units of their mean."""


@dataclass(frozen=True)
class Normalization:
    """Inputs minus their mean, divided by their standard deviation.

    Without numbers they are computed in float64 from the training examples, without those that are
    held out. The difference is computed in float64 where the inputs have digits that float32 would
    lose, and that matter.
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

    def numbers_for(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, ...]:
        """Return the given mean and standard deviation for inputs of a shape.

        Args:
            shape: shape of an input: (channels, ...).
            dtype: type of the inputs.

        Returns:
            The arguments of `normalized`.

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
        mean = torch.tensor(self.mean, dtype=torch.float64)
        std = torch.tensor(self.std, dtype=torch.float64)
        if rounding(mean.numpy(), std.numpy(), dtype) <= _LITTLE:
            mean = mean.float()
        return _spread(mean, len(shape)), _spread(std.float(), len(shape))

    def computed_from(self, inputs: Tensor, rows: Tensor, at_once: int) -> tuple[Tensor, ...]:
        """Compute the mean and the standard deviation of inputs.

        Args:
            inputs: (num_rows, channels, ...) numbers of any type.
            rows: (num_examples,) positions of the training examples among the rows.
            at_once: number of rows that are converted to float64 together.

        Returns:
            The arguments of `normalized`.

        Raises:
            ConfigurationError: if a channel is constant, or has numbers that are not finite.
        """
        kept = self.per_channel
        mean, std = moments(inputs, rows, at_once, per_channel=kept)
        if not np.isfinite(std).all():
            raise ConfigurationError(
                "Normalization: the training inputs have numbers that are infinite or NaN, so they "
                "have no mean; remove them, or give mean and std"
            )
        for channel, (center, width) in enumerate(zip(mean.flat, std.flat, strict=True)):
            what = f"channel {channel} of the" if kept else "the"
            # What is constant may have a deviation, which is the rounding error of its mean.
            own = inputs[:, channel] if kept else inputs
            noise = width <= _CONSTANT * abs(center)
            if width == 0 or (noise and not varies(own, rows, at_once)):
                raise ConfigurationError(
                    f"Normalization: {what} training inputs is {center:g} everywhere, so it has no "
                    "standard deviation; remove it, or give mean and std"
                )
            if abs(center) * 2.0**-53 > _LITTLE * width or np.float32(width) == 0:
                raise ConfigurationError(
                    f"Normalization: {what} training inputs has the mean {center:g} and a standard "
                    f"deviation of only {width:g}; subtract a constant, or multiply by one"
                )
        mean, std = np.atleast_1d(mean), np.atleast_1d(std)
        centers = torch.from_numpy(mean)
        if rounding(mean, std, inputs.dtype) <= _LITTLE or are_kept(inputs, rows, at_once):
            centers = centers.float()
        dims = inputs.dim() - 1
        return _spread(centers, dims), _spread(torch.from_numpy(std).float(), dims)


def require_mean_and_std(owner: Any) -> None:
    """Check the fields `mean` and `std`, and store them as tuples of Python numbers.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass with these fields.

    Raises:
        ConfigurationError: if they are not as many finite numbers, or if one of `std` is not > 0
            in float32.
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
    if min(map(_as_float32, owner.std)) == 0 or max(map(_as_float32, owner.std)) == math.inf:
        raise ConfigurationError(
            f"{name}.std = {owner.std}: must be numbers that are > 0 and finite as float32"
        )
    if len(owner.mean) != len(owner.std):
        raise ConfigurationError(
            f"{name}.std = {owner.std}: must have as many numbers as {name}.mean, which has "
            f"{len(owner.mean)}"
        )


def _as_float32(number: float) -> float:
    return torch.tensor(number, dtype=torch.float64).float().item()


def _spread(numbers: Tensor, dims: int) -> Tensor:
    """Return numbers (channels,) as (channels, 1, ...), or a single number as (1, 1, ...)."""
    return numbers.view(-1, *[1] * (dims - 1))
