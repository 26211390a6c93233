"""Dimensions: what a network is told about its inputs and targets."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DTYPES = {
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
"""Names of the dtypes that files can state."""
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
    """Dtype of a network input. Integers are symbols from 0 to `num_symbols` - 1."""
    target: tuple[int, ...] = ()
    """Shape of a target without the batch axis: () for a label."""
    target_dtype: torch.dtype = torch.int64
    """Dtype of a target. Integers are from 0 to `num_classes` - 1."""
    num_symbols: int | None = None
    """Number of symbols in inputs of integers; None if it is `num_classes`."""

    @property
    def symbols(self) -> int | None:
        """Number of symbols in inputs; None if inputs are floating-point numbers."""
        if self.dtype.is_floating_point:
            return None
        return self.num_classes if self.num_symbols is None else self.num_symbols

    def to_json(self) -> str:
        """Return the dimensions as a line of JSON."""
        dtypes = (str(dtype).removeprefix("torch.") for dtype in (self.dtype, self.target_dtype))
        values = (self.num_classes, self.input, self.target, *dtypes)
        named: dict[str, Any] = dict(zip(_KEYS, values, strict=True))
        if self.num_symbols is not None:
            named[_SYMBOLS] = self.num_symbols
        return json.dumps(named, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Dimensions":
        """Return the dimensions of a line of JSON, which may come from anybody.

        Raises:
            ValueError: if the text is not one that `to_json` returned.
        """
        try:
            named = json.loads(text)
            num_classes, shape, target, dtype, target_dtype = map(named.pop, _KEYS)
            symbols = named.pop(_SYMBOLS, None)
            return cls(
                _size(num_classes),
                _shape(shape),
                DTYPES[dtype],
                _shape(target),
                DTYPES[target_dtype],
                None if symbols is None else _size(symbols),
            )
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ValueError(f"the dimensions {text[:200]!r}") from error

    def random_inputs(self, batch: int) -> Tensor:
        """Return random network inputs from torch's default generator."""
        return _random((batch, *self.input), self.dtype, self.symbols)

    def some_targets(self, batch: int) -> Tensor:
        """Return targets: different labels, or random numbers."""
        if self.target_dtype.is_floating_point:
            return _random((batch, *self.target), self.target_dtype, None)
        labels = torch.arange(batch) % self.num_classes
        return labels.view(-1, *[1] * len(self.target)).expand(batch, *self.target)


_KEYS = ("outputs", "input", "target", "input_type", "target_type")
_SYMBOLS = "symbols"


def _size(value: Any) -> int:
    if type(value) is not int or not 1 <= value < _LARGEST_SIZE:
        raise ValueError(f"the size {value}")
    return value


def _shape(values: Any) -> tuple[int, ...]:
    if type(values) is not list or len(values) > _MOST_AXES:
        raise ValueError(f"the shape {values}")
    return tuple(map(_size, values))


def _random(shape: tuple[int, ...], dtype: torch.dtype, symbols: int | None) -> Tensor:
    if symbols is None:
        return torch.rand(*shape).to(dtype)
    return torch.randint(symbols, shape, dtype=dtype)
