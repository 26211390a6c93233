"""The canonical JSON of a recipe, and the fingerprint that is a trial's identity."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from quantlab.recipe import Recipe, override

FORMAT = 1
"""Part of every fingerprint; raised when the meaning of a recipe's fields changes."""


def canonical(value: object) -> Any:
    """A value as plain JSON data: the same for equal values, different for different ones.

    Dataclasses become objects with their class as ``"type"``, whole floats become integers (so that
    ``1`` and ``1.0`` are the same number), enums their value, classes their qualified name.

    Raises:
        TypeError: a value of another kind, a non-finite number, or a subclass of a dataclass that
            is none itself.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no canonical form")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, type):
        return _qualified(value)
    if dataclasses.is_dataclass(value):
        if "__dataclass_fields__" not in vars(type(value)):  # its own fields would be left out
            raise TypeError(f"{_qualified(type(value))} must be decorated as a frozen dataclass")
        fields = {
            item.name: canonical(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
        return {"type": _qualified(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise TypeError(f"{value!r} has no canonical form")


def canonical_json(recipe: Recipe) -> str:
    """The recipe as one line of JSON with sorted keys."""
    return json.dumps(
        {"format": FORMAT, "recipe": canonical(recipe)}, sort_keys=True, separators=(",", ":")
    )


def fingerprint(recipe: Recipe) -> str:
    """The trial's identity everywhere: 16 hexadecimal digits of the canonical JSON's SHA-256."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:16]


def configuration_id(recipe: Recipe) -> str:
    """The fingerprint without the seed: the same for all seeds of a configuration."""
    return fingerprint(override(recipe, "seed", 0))


def flatten(recipe: Recipe) -> dict[str, str | int | float | bool | None]:
    """The recipe as dotted names with plain values, one for each leaf, for params and columns.

    A dataclass's class name stands under its own path; a list stands as text, ``"-1, 0, 1"``.
    """
    flat: dict[str, str | int | float | bool | None] = {}

    def visit(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key == "type":
                    flat[path] = str(item).rsplit(":", 1)[-1]
                else:
                    visit(f"{path}.{key}" if path else key, item)
        elif isinstance(value, list):
            flat[path] = ", ".join(str(item) for item in value)
        else:
            flat[path] = value

    data = canonical(recipe)
    del data["type"]
    visit("", data)
    return flat


def _qualified(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
