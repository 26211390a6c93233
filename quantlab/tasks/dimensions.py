"""Dimensions: what a network is told about its inputs and targets."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dimensions:
    """Dimensions of the inputs and outputs of a network for a dataset."""

    num_classes: int
    """Number of outputs: classes in classification, or symbols of a text."""
    input: tuple[int, ...]
    """Shape of a network input without the batch axis: (channels, height, width), (channels,
    length) for signals, or (length,) for symbols."""
    dtype: torch.dtype = torch.float32
    """Dtype of a network input. Integers are symbols from 0 to `num_classes` - 1."""
    target: tuple[int, ...] = ()
    """Shape of a target without the batch axis: () for a label."""
    target_dtype: torch.dtype = torch.int64
    """Dtype of a target. Integers are from 0 to `num_classes` - 1."""

    def random_inputs(self, batch: int) -> Tensor:
        """Return random network inputs from torch's default generator."""
        return self._random((batch, *self.input), self.dtype)

    def some_targets(self, batch: int) -> Tensor:
        """Return targets: different labels, or random numbers."""
        if self.target_dtype.is_floating_point:
            return self._random((batch, *self.target), self.target_dtype)
        labels = torch.arange(batch) % self.num_classes
        return labels.view(-1, *[1] * len(self.target)).expand(batch, *self.target)

    def _random(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if dtype.is_floating_point:
            return torch.rand(*shape).to(dtype)
        return torch.randint(self.num_classes, shape, dtype=dtype)
