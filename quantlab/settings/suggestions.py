"""What to write in a recipe in place of objects of torch and other values, for error messages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from quantlab.quantizers import Quantizer


def such_as(field: str, value: object) -> str:
    """Return what a field of a recipe could be, in Python.

    Args:
        field: name of the field: model, dataset, optimizer, quantization or task.
        value: what the user wrote, which the recipe does not accept.
    """
    return _SUGGESTIONS[field](value)


def _model(value: object) -> str:
    if isinstance(value, str):
        by_name = f"AnyModule({value!r})" if ":" in value else f"TimmModel({value!r})"
        return f"{by_name}, or AnyModule('module:name') for a class or function"
    name = _name(type(value) if isinstance(value, nn.Module) else value)
    if name is None or not (isinstance(value, nn.Module) or callable(value)):
        return "ResNet(depth=20), or AnyModule(MyNetwork) for a class or function of your own"
    if isinstance(value, nn.Module):
        return (
            f"AnyModule({name}, {{'width': 16}}) with the class and its arguments, because every "
            "trial builds a network of its own"
        )
    return f"AnyModule({name}), with a mapping of arguments as its second argument if it needs any"


def _dataset(value: object) -> str:
    is_torchs = isinstance(value, Dataset | DataLoader)
    if is_torchs or (isinstance(value, type) and issubclass(value, Dataset)):
        return "one of a subclass of TorchDataset, whose methods return the Dataset of torch"
    if isinstance(value, np.ndarray | torch.Tensor | tuple | list):
        return "Arrays(inputs='data.npz:x', targets='data.npz:y', ...) for arrays in files"
    if isinstance(value, str | Path):
        return (
            f"ImageFolder(folder={str(value)!r}, ...) for folders of images, or "
            "ByteText(path='book.txt') for a text"
        )
    return "Digits()"


def _optimizer(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    algorithm = kind.__name__ if issubclass(kind, torch.optim.Optimizer) else "torch.optim.SGD"
    return f"OptimizerSpec(algorithm={algorithm}, learning_rate=0.1)"


def _quantization(value: object) -> str:
    quantizer = "PiecewiseLinear(TERNARY)"
    if isinstance(value, Quantizer):
        quantizer = f"{type(value).__name__}(...)"
    return f"Quantization(rule=PROX_CONNECT, quantizer={quantizer}, sharpness=Linear(0.01))"


def _task(value: object) -> str:
    return "Classification() or Regression(), or one of a subclass of Task for a loss of your own"


def _name(value: object) -> str | None:
    """Return the name of a class or function; None if it has none that could be written."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


_SUGGESTIONS: dict[str, Callable[[object], str]] = {
    "model": _model,
    "dataset": _dataset,
    "optimizer": _optimizer,
    "quantization": _quantization,
    "task": _task,
}
