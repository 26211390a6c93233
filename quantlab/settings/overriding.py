"""Changing one setting of nested dataclasses, named by its path."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from quantlab.errors import ConfigurationError, brief, suggestion

T = TypeVar("T")


def override(value: T, path: str, new: object) -> T:
    """Return a copy of a (nested) dataclass with one field replaced.

    Args:
        value: a recipe, or any dataclass; it is not changed.
        path: dotted field names, such as ``"quantization.sharpness.rho0"``. An item of a mapping is
            named by its key (``"optimizer.options.momentum"``), an item of a tuple by its position
            (``"quantization.groups.0.quantizer"``).
        new: the field's new value.

    Raises:
        ConfigurationError: if a name on the path is not a field (the message lists the fields), or
            if the value is not allowed.
    """
    changed: T = _override(value, path.split("."), new, path)
    return changed


def _override(value: Any, names: list[str], new: object, path: str) -> Any:
    if not names:
        return new
    name, *rest = names
    if isinstance(value, Mapping):
        return {**value, name: _override(value.get(name), rest, new, path)}
    if isinstance(value, tuple):
        position = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else -1
        if not 0 <= position < len(value):
            raise ConfigurationError(
                f"path {path!r}: {name!r} must be a whole number >= 0 and < {len(value)}, the "
                f"number of items of {brief(value)}"
            )
        changed = _override(value[position], rest, new, path)
        return (*value[:position], changed, *value[position + 1 :])
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ConfigurationError(
            f"path {path!r}: {brief(value)} has no field {name!r}; only dataclasses, mappings and "
            "tuples can be followed"
        )
    known = [item.name for item in dataclasses.fields(value)]
    if name not in known:
        raise ConfigurationError(
            f"path {path!r}: {type(value).__name__} has no field {name!r}"
            f"{suggestion(name, known)}; its fields are {', '.join(known)}"
        )
    changed = _override(getattr(value, name), rest, new, path)
    try:
        return dataclasses.replace(value, **{name: changed})
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"path {path!r}: the value {brief(new)} is not allowed ({error})"
        ) from error
