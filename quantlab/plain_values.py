"""Conversion of NumPy and torch numbers to Python numbers, and checks of the fields of recipes."""

import dataclasses
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quantlab.errors import ConfigurationError, brief

_AS_THEY_ARE = (int, float, bool, str, type(None))


def is_of(value: object, library: str, *kinds: str) -> bool:
    """Whether a value is an instance of classes of a library, which is not imported for it.

    Of a library that nobody has imported, there are no values.

    Args:
        value: any value.
        library: name of the library.
        kinds: names of the classes in it.
    """
    module = sys.modules.get(library)
    there = (getattr(module, kind, None) for kind in kinds)
    return isinstance(value, tuple(kind for kind in there if kind is not None))


def plain(value: Any) -> Any:
    """Convert NumPy and torch numbers in a value to Python numbers.

    A number becomes the same number; one of fewer than 64 bits becomes the shortest decimal that
    represents it, so that 0.1 stays 0.1. An array or a range becomes a tuple. The items of a list,
    a tuple or a mapping are converted; any other value is returned unchanged.

    Raises:
        ConfigurationError: if the numbers of a tensor cannot be read.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if is_of(value, "torch", "Tensor"):
        try:
            wide = value.detach().cpu()
            value = (wide.float() if str(wide.dtype) == "torch.bfloat16" else wide).numpy()
        except (RuntimeError, TypeError) as error:
            raise ConfigurationError(f"{brief(value)} has no plain numbers ({error})") from error
    if is_of(value, "numpy", "floating"):
        return float(str(value)) if value.dtype.itemsize < 8 else float(value)
    if is_of(value, "numpy", "generic"):
        return value.item()
    if is_of(value, "numpy", "ndarray"):
        return tuple(plain(item) for item in value) if value.ndim else plain(value[()])
    if isinstance(value, range):
        return tuple(value)
    if type(value) in (tuple, list):
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def floats(values: Iterable[Any]) -> tuple[float, ...]:
    """Convert numbers of any type to Python floats; see `plain`.

    Raises:
        TypeError: if `values` is not a sequence, or holds something other than numbers, such as
            text.
    """
    numbers = tuple(map(plain, values))
    if any(isinstance(number, str | bytes) for number in (values, *numbers)):
        raise TypeError("text is no number")
    return tuple(map(float, numbers))


def make_plain(owner: Any) -> None:
    """Replace NumPy and torch numbers in the fields of a frozen dataclass by Python numbers.

    It is called from ``__post_init__``. Arrays are kept, because a user's class may compute with
    them.
    """
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        if is_of(value, "numpy", "generic") or (is_of(value, "torch", "Tensor") and not value.ndim):
            object.__setattr__(owner, field.name, plain(value))


def finite_number(value: object) -> int | float | None:
    """Return a finite number as a Python number; None for any other value.

    Booleans are not numbers here, nor are integers beyond the range of floats.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def require_number(
    owner: Any, field: str, *, least: float = 0.0, most: float = math.inf, exclusive: bool = False
) -> int | float:
    """Check that a field of a dataclass is a finite number within a range.

    Args:
        owner: a dataclass.
        field: name of the field.
        least: smallest value that is allowed.
        most: largest value that is allowed.
        exclusive: whether `least` itself is not allowed.

    Returns:
        The value as a Python number. The field is not changed.

    Raises:
        ConfigurationError: if the value is not such a number.
    """
    value = plain(getattr(owner, field))
    number = finite_number(value)
    if number is not None and least <= number <= most and not (exclusive and number == least):
        return number
    allowed = "a finite number"
    if most < math.inf:
        allowed = f"a number from {least:g} to {most:g}"
        if exclusive:
            allowed = f"a number > {least:g} and <= {most:g}"
    elif least > -math.inf:
        allowed += f" {'>' if exclusive else '>='} {least:g}"
    raise ConfigurationError(f"{type(owner).__name__}.{field} = {brief(value)}: must be {allowed}")


def require_count(owner: Any, field: str, least: int) -> None:
    """Check that a field is a whole number, and store it as a Python integer.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass.
        field: name of the field.
        least: smallest value that is allowed.

    Raises:
        ConfigurationError: if the value is not a whole number, or is less than `least`.
    """
    value = plain(getattr(owner, field))
    if type(value) is not int or value < least:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be a whole number >= {least}"
        )
    object.__setattr__(owner, field, value)


def require_bool(owner: Any, field: str) -> None:
    """Check that a field of a dataclass is True or False.

    Raises:
        ConfigurationError: if the value is neither.
    """
    value = getattr(owner, field)
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be True or False"
        )


def require_items(owner: Any, field: str, kind: type, allowed: str) -> None:
    """Check that all items of a field are of one type, and store them as a tuple.

    Booleans are not whole numbers here.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass.
        field: name of the field.
        kind: type of the items.
        allowed: what the field must be, for the message.

    Raises:
        ConfigurationError: if the value is not a sequence of such items.
    """
    value = getattr(owner, field)
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    excluded: tuple[type, ...] = (bool,) if kind is int else ()
    if not is_sequence or not all(
        isinstance(item, kind) and not isinstance(item, excluded) for item in value
    ):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(value)}: must be {allowed}"
        )
    object.__setattr__(owner, field, tuple(value))


def require_instance(owner: Any, field: str, kind: type, such_as: str = "") -> None:
    """Check that a field of a dataclass is an instance of a class.

    Args:
        owner: a dataclass.
        field: name of the field.
        kind: the class.
        such_as: an instance in Python, for the message.

    Raises:
        ConfigurationError: if it is not.
    """
    value = getattr(owner, field)
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        such_as = f"{value.__name__}(...)"
    raise ConfigurationError(
        f"{type(owner).__name__}.{field} = {brief(value)}: must be an instance of {kind.__name__}"
        + (f", such as {such_as}" if such_as else "")
    )


def require_options(owner: Any, field: str, such_as: str) -> None:
    """Check that a field is a mapping of names, and store it as a dictionary of plain values.

    It is called from ``__post_init__``.

    Args:
        owner: a frozen dataclass.
        field: name of the field.
        such_as: a mapping in Python, for the message.

    Raises:
        ConfigurationError: if it is not.
    """
    options = getattr(owner, field)
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise ConfigurationError(
            f"{type(owner).__name__}.{field} = {brief(options)}: must be a mapping, such as "
            f"{such_as}"
        )
    object.__setattr__(owner, field, plain(dict(options)))
