"""Dimensions: what a network is told about its inputs and targets."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}
_MOST_AXES = 8
_LARGEST_SIZE = 2**31


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

    def to_json(self) -> str:
        """Return the dimensions as a line of JSON."""
        dtypes = (str(dtype).removeprefix("torch.") for dtype in (self.dtype, self.target_dtype))
        values = (self.num_classes, self.input, self.target, *dtypes)
        return json.dumps(dict(zip(_KEYS, values, strict=True)), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Dimensions":
        """Return the dimensions of a line of JSON, which may come from anybody.

        Raises:
            ValueError: if the text is not one that `to_json` returned.
        """
        try:
            num_classes, shape, target, dtype, target_dtype = map(json.loads(text).pop, _KEYS)
            return cls(
                _size(num_classes),
                _shape(shape),
                _DTYPES[dtype],
                _shape(target),
                _DTYPES[target_dtype],
            )
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ValueError(f"the dimensions {text[:200]!r}") from error

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


_KEYS = ("outputs", "input", "target", "input_type", "target_type")


def _size(value: Any) -> int:
    if type(value) is not int or not 1 <= value < _LARGEST_SIZE:
        raise ValueError(f"the size {value}")
    return value


def _shape(values: Any) -> tuple[int, ...]:
    if type(values) is not list or len(values) > _MOST_AXES:
        raise ValueError(f"the shape {values}")
    return tuple(map(_size, values))
