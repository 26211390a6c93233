"""Convert the values of a sweep file, such as arrays of NumPy and torch, to plain Python."""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import is_of, plain

MOST_VALUES = 100_000
"""Maximum number of values of an axis, and of trials of a sweep; more are taken for an error."""

MOST_SEED = 2**63 - 1
"""Largest integer of tables and databases."""


def in_order(values: object, what: str, example: str) -> tuple[Any, ...]:
    """Return the items of a sequence or an array as plain Python values.

    Args:
        values: the sequence or array.
        what: name of the field for the message, such as ``"axis 'rho0': values"``.
        example: a valid value, for the message.

    Raises:
        ConfigurationError: the value is neither a sequence nor an array, or has too many items.
    """
    is_tensor = is_of(values, "torch", "Tensor")
    if hasattr(values, "__array__") and not is_tensor:
        import numpy as np

        values = np.asarray(values)  # for example a column of a pandas table
    is_array = (is_tensor or is_of(values, "numpy", "ndarray")) and getattr(values, "ndim", 0) > 0
    if not is_array and (not isinstance(values, Sequence) or isinstance(values, str | bytes)):
        is_other = isinstance(values, Iterator | Set)
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a tuple, such as {example}, not "
            f"{type(values).__name__}" + ("; convert it with tuple(...)" if is_other else "")
        )
    assert isinstance(values, Collection)
    if len(values) > MOST_VALUES:
        raise ConfigurationError(
            f"{what} = {brief(values)}: must have at most {MOST_VALUES:,} items, but has "
            f"{len(values):,}"
        )
    return tuple(plain(values if is_array else tuple(values)))


def items_of(values: object, kind: type, what: str, example: str) -> tuple[Any, ...]:
    """Return the items of a sequence, all of which must have one type.

    Args:
        values: the sequence.
        kind: type of the items.
        what: name of the field, for the message.
        example: a valid value, for the message.

    Raises:
        ConfigurationError: see `in_order`, or an item has another type.
    """
    if isinstance(values, kind):
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a tuple of {kind.__name__}, such as {example}; a "
            "tuple with one item needs a comma after it"
        )
    items = in_order(values, what, example)
    for item in items:
        if not isinstance(item, kind):
            raise ConfigurationError(
                f"{what}: {brief(item)}: must be {kind.__name__}(...), not {type(item).__name__}"
            )
    return items


def seeds_of(values: object, what: str) -> tuple[int, ...]:
    """Return seeds, which must be different from one another.

    Args:
        values: a sequence or array of seeds.
        what: name of the field, for the message.

    Raises:
        ConfigurationError: there is no seed, a seed is not an integer from 0 to 2^63 - 1, or a seed
            occurs more than once.
    """
    seeds = in_order(values, what, "(0, 1, 2)")
    for seed in seeds:
        if type(seed) is not int or not 0 <= seed <= MOST_SEED:
            raise ConfigurationError(
                f"{what}: {brief(seed)}: must be an integer from 0 to 2^63 - 1"
            )
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigurationError(
            f"{what} = {brief(seeds)}: must be one or more different seeds, each once"
        )
    return seeds


def mapping_of(values: object, what: str, example: str) -> dict[str, Any]:
    """Return a mapping from text to plain Python values.

    Args:
        values: the mapping.
        what: name of the field, for the message.
        example: a valid value, for the message.

    Raises:
        ConfigurationError: the value is not a mapping, or a key is not text.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"{what} = {brief(values)}: must be a mapping, such as {example}, not "
            f"{type(values).__name__}"
        )
    for key in values:
        if not isinstance(key, str):
            raise ConfigurationError(f"{what}: {brief(key)}: must be text, as in {example}")
    return {key: plain(value) for key, value in values.items()}
