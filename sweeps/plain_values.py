"""Values of a sweep's file as plain Python: NumPy's and torch's numbers, arrays, ranges."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

from quantlab import ConfigurationError
from quantlab.errors import brief
from quantlab.plain_values import plain

MOST_VALUES = 100_000
"""Of one axis, and trials of one sweep: more are a slip."""

MOST_SEED = 2**63 - 1
"""Tables and databases have no larger whole numbers."""


def in_order(values: object, what: str, example: str) -> tuple[Any, ...]:
    """The items of a sequence or an array, plain.

    Args:
        values: the sequence.
        what: it is, for the message, such as ``"axis 'rho0': values"``.
        example: of what is allowed.

    Raises:
        ConfigurationError: it is something else, or far too long.
    """
    if hasattr(values, "__array__") and not isinstance(values, torch.Tensor | np.ndarray):
        values = np.asarray(values)  # such as a column of a table
    is_array = isinstance(values, np.ndarray | torch.Tensor) and values.ndim > 0
    if not is_array and (not isinstance(values, Sequence) or isinstance(values, str | bytes)):
        is_other = isinstance(values, Iterator | Set)
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a tuple, such as {example}, not "
            f"{type(values).__name__}" + ("; tuple(...) makes one of it" if is_other else "")
        )
    assert isinstance(values, Sequence | np.ndarray | torch.Tensor)
    if len(values) > MOST_VALUES:
        raise ConfigurationError(
            f"{what} = {brief(values)}: must have at most {MOST_VALUES:,} of them, and has "
            f"{len(values):,}"
        )
    return tuple(plain(values if is_array else tuple(values)))


def items_of(values: object, kind: type, what: str, example: str) -> tuple[Any, ...]:
    """The items of a sequence, all of one kind.

    Raises:
        ConfigurationError: see `in_order`, or an item is of another kind.
    """
    if isinstance(values, kind):
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a tuple of {kind.__name__}, such as {example}; a "
            "tuple of one needs its comma"
        )
    items = in_order(values, what, example)
    for item in items:
        if not isinstance(item, kind):
            raise ConfigurationError(
                f"{what}: {brief(item)}: must be {kind.__name__}(...), not {type(item).__name__}"
            )
    return items


def seeds_of(values: object, what: str) -> tuple[int, ...]:
    """Seeds, each once.

    Raises:
        ConfigurationError: there is none, or one that is no whole number of 0 to 2^63 - 1, or
            stands there twice.
    """
    seeds = in_order(values, what, "(0, 1, 2)")
    for seed in seeds:
        if type(seed) is not int or not 0 <= seed <= MOST_SEED:
            raise ConfigurationError(
                f"{what}: {brief(seed)}: must be a whole number of 0 to 2^63 - 1"
            )
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigurationError(f"{what} = {brief(seeds)}: must be one or more, each once")
    return seeds


def mapping_of(values: object, what: str, example: str) -> dict[str, Any]:
    """A mapping with names as its keys, its values plain.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a mapping, such as {example}, not "
            f"{type(values).__name__}"
        )
    for key in values:
        if not isinstance(key, str):
            raise ConfigurationError(f"{what}: {brief(key)}: must be text, such as in {example}")
    return {key: plain(value) for key, value in values.items()}
