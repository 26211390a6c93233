"""The canonical JSON of a recipe, and the fingerprint that is a trial's identity."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import torch

from quantlab.recipe import Recipe

CANONICAL_NAME = "__canonical_name__"
"""A class of a user's file bears its name and a digest of its source under this attribute."""

FORMAT = 1
"""Part of every fingerprint; raised when the meaning of a recipe's fields changes."""


def canonical(value: object, *, defaults: bool = True) -> Any:
    """A value as plain JSON data: the same for equal values, different for different ones.

    Dataclasses become objects with their class as ``"type"``, whole floats become integers (so that
    ``1`` and ``1.0`` are the same number), enums their value, classes their name.

    Args:
        value: a recipe or a part of one.
        defaults: whether fields that have their default value are written out.

    Raises:
        TypeError: a value of another kind, a non-finite number, or a subclass of a dataclass that
            is none itself.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no canonical form")
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, type):
        return _class_name(value)
    if dataclasses.is_dataclass(value):
        if "__dataclass_fields__" not in vars(type(value)):  # its own fields would be left out
            raise TypeError(f"{_class_name(type(value))} must be decorated as a frozen dataclass")
        fields = {
            item.name: canonical(getattr(value, item.name), defaults=defaults)
            for item in dataclasses.fields(value)
            if defaults or getattr(value, item.name) != default_of(item)
        }
        return {"type": _class_name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): canonical(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item, defaults=defaults) for item in value]
    raise TypeError(f"{value!r} has no canonical form")


def canonical_json(recipe: Recipe) -> str:
    """The whole recipe as one line of JSON with sorted keys."""
    return _json({"format": FORMAT, "recipe": canonical(recipe)})


def fingerprint(recipe: Recipe) -> str:
    """The trial's identity everywhere: 16 hexadecimal digits of a SHA-256.

    Fields with their default value play no part, so that a field that is added later, with the
    earlier behaviour as its default, leaves the identity of finished trials alone. A default that
    changes its meaning must raise `FORMAT`.
    """
    return _digest(canonical(recipe, defaults=False))


def configuration_id(recipe: Recipe) -> str:
    """As the fingerprint, but the same for all seeds of a configuration."""
    data = canonical(recipe, defaults=False)
    data["seed"] = "any"
    return _digest(data)


def flatten(recipe: Recipe) -> dict[str, str | int | float | bool | None]:
    """The recipe as dotted names with plain values, one for each leaf, for params and columns.

    A dataclass's class name stands under its own path; a list of numbers or names stands as text,
    ``"-1, 0, 1"``, one of dataclasses under its positions.
    """
    flat: dict[str, str | int | float | bool | None] = {}

    def visit(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key == "type":
                    flat[path] = item
                else:
                    visit(f"{path}.{key}" if path else key, item)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for position, item in enumerate(value):
                visit(f"{path}.{position}", item)
        elif isinstance(value, list):
            flat[path] = ", ".join(str(item) for item in value)
        else:
            flat[path] = value

    data = canonical(recipe)
    del data["type"]
    visit("", data)
    return flat


def _json(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _digest(data: object) -> str:
    return hashlib.sha256(_json({"format": FORMAT, "recipe": data}).encode()).hexdigest()[:16]


def default_of(field: "dataclasses.Field[Any]") -> object:
    """A field's default value; something equal to nothing else if it has none."""
    # Of a class that was pickled by value and read again, the marker is another object of its kind.
    factory: object = field.default_factory
    return factory() if callable(factory) else field.default


def _class_name(kind: type) -> str:
    """A name that stays when a module is moved; a class with `CANONICAL_NAME` brings its own."""
    own = vars(kind).get(CANONICAL_NAME)
    if own is not None:
        return str(own)
    package = kind.__module__.split(".")[0]
    if package == "quantlab":
        return kind.__qualname__
    if getattr(torch.optim, kind.__name__, None) is kind:
        return f"torch.optim.{kind.__name__}"
    return f"{kind.__module__}:{kind.__qualname__}"
