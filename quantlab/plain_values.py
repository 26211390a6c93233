"""NumPy's and torch's numbers as Python's own, which is all that recipes hold."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from quantlab.errors import ConfigurationError, brief


def plain(value: Any) -> Any:
    """A value with Python's own numbers in it, where it has NumPy's or torch's.

    A number of an array becomes the same number (one of fewer than 64 bits the shortest decimal
    that stands for it, so that 0.1 stays 0.1), an array and a range a tuple. In a list, a tuple or
    a mapping the items are made plain; whatever else there is stays as it is.

    Raises:
        ConfigurationError: a tensor has no numbers that could be read.
    """
    if isinstance(value, torch.Tensor):
        try:
            wide = value.detach().cpu()
            value = (wide.float() if wide.dtype is torch.bfloat16 else wide).numpy()
        except (RuntimeError, TypeError) as error:
            raise ConfigurationError(f"{brief(value)} has no plain numbers ({error})") from error
    if isinstance(value, np.floating):
        return float(str(value)) if value.dtype.itemsize < 8 else float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return tuple(plain(item) for item in value) if value.ndim else plain(value[()])
    if isinstance(value, range):
        return tuple(value)
    if type(value) in (tuple, list):
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def floats(values: Iterable[Any]) -> tuple[float, ...]:
    """Numbers of any kind as Python's floats; see `plain`.

    Raises:
        TypeError: it is no sequence, or has something else in it.
        ValueError: the same.
    """
    return tuple(float(plain(value)) for value in values)


def make_plain(owner: Any) -> None:
    """Replace NumPy's numbers in the fields of a frozen dataclass that is being made.

    Arrays stay: a user's class may want to compute with them.
    """
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        if isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and not value.ndim):
            object.__setattr__(owner, field.name, plain(value))


def require_count(owner: Any, field: str, least: int) -> None:
    """Make sure that a field of a frozen dataclass that is being made is a whole number.

    Raises:
        ConfigurationError: it is none, or less than `least`.
    """
    value = plain(getattr(owner, field))
    if type(value) is not int or value < least:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be a whole number >= {least}"
        )
    object.__setattr__(owner, field, value)
