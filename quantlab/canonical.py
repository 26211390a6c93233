"""The canonical JSON of a recipe, and the fingerprint that is a trial's identity."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch

from quantlab.errors import ConfigurationError, brief, described
from quantlab.identity.code_origin import is_users, release_name
from quantlab.identity.source_identity import Reach, UntraceableError
from quantlab.recipe import Recipe

CANONICAL_NAME = "__canonical_name__"
"""A class that is not of the release bears its name and a digest of its source under this attribute
once it has been asked for, also where it arrives without its source."""

_TYPE_FIELD, _ENUM, _PAIRS = "type.", "enum.", "pairs."
"""Keys that no field can have: of a field called ``type``, of a member of a user's enumeration, and
of a mapping with keys that could be taken for something else."""
_RESERVED = {"type", _TYPE_FIELD, _ENUM, _PAIRS}

FORMAT = 1
"""Part of every fingerprint; raised when the meaning of a recipe's fields changes."""


def canonical(value: object, *, defaults: bool = True) -> Any:
    """A value as plain JSON data: the same for equal values, different for different ones.

    Dataclasses become objects with their class as ``"type"``, whole floats become integers (so that
    ``1`` and ``1.0`` are the same number), NumPy's numbers and arrays what they hold, members of
    enumerations their value, or class and name where the class is not of the release, and classes
    their name (see `source_identity` for those that are not of the release).

    Args:
        value: a recipe or a part of one.
        defaults: whether fields that have their default value are written out.

    Raises:
        ConfigurationError: a value of another kind, a non-finite number, a subclass of a dataclass
            that is none itself, or a class whose source cannot be followed.
    """
    if isinstance(value, Enum):
        if release_name(type(value)) is not None:
            return value.value
        return {_ENUM: _class_name(type(value)), "name": value.name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigurationError(f"{value} has no canonical form; give a finite number")
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
    if isinstance(value, np.generic | np.ndarray):
        return canonical(value.tolist(), defaults=defaults)
    if isinstance(value, type):
        return _class_name(value)
    if dataclasses.is_dataclass(value):
        kind = type(value)
        if "__dataclass_fields__" not in vars(kind):  # its own fields would be left out
            what = f"class {kind.__qualname__}"
            raise ConfigurationError(f"{what} must be decorated as a frozen dataclass")
        fields = {
            _TYPE_FIELD if item.name == "type" else item.name: canonical(own, defaults=defaults)
            for item in dataclasses.fields(value)
            for own in (getattr(value, item.name),)
            if defaults or not _is_default(own, default_of(item))
        }
        return {"type": _class_name(kind), **fields}
    if isinstance(value, Mapping):
        items = [(key, canonical(item, defaults=defaults)) for key, item in value.items()]
        if all(isinstance(key, str) and key not in _RESERVED for key, _ in items):
            return dict(items)
        pairs = [[canonical(key, defaults=defaults), item] for key, item in items]
        return {_PAIRS: sorted(pairs, key=_json)}
    if isinstance(value, list | tuple):
        return [canonical(item, defaults=defaults) for item in value]
    raise ConfigurationError(
        f"{brief(value)} has no canonical form; a recipe holds numbers, text, classes, frozen "
        "dataclasses, and sequences and mappings of these"
    )


def canonical_key(value: object) -> str:
    """The same text for equal values, whether they are hashable or not."""
    return _json(canonical(value))


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
        if isinstance(value, dict) and _ENUM in value:
            flat[path] = value["name"]
        elif isinstance(value, dict):
            for key, item in value.items():
                if key == "type":
                    flat[path] = item
                else:
                    name = key.removesuffix(".")
                    visit(f"{path}.{name}" if path else name, item)
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


def _is_default(value: Any, default: object) -> bool:
    """Whether a field says nothing new.

    Equal dataclasses may differ in fields that are not compared, and arrays cannot be compared.
    """
    try:
        if value != default:
            return False
    except (ValueError, RuntimeError):
        return False
    is_plain = not dataclasses.is_dataclass(value) and not isinstance(value, Collection)
    return is_plain or isinstance(value, str) or canonical(value) == canonical(default)


def _class_name(kind: type) -> str:
    """A name that stays when a module is moved; a class with `CANONICAL_NAME` brings its own."""
    own = vars(kind).get(CANONICAL_NAME)
    if own is not None:
        return str(own)
    if kind.__module__.split(".")[0] == "quantlab" and (name := release_name(kind)) is not None:
        return name
    if getattr(torch.optim, kind.__name__, None) is kind:
        return f"torch.optim.{kind.__name__}"
    if is_users(kind):
        return name_by_source(kind)
    return f"{kind.__module__}:{kind.__qualname__}"


def name_by_source(kind: type) -> str:
    """``Name@digest`` of a user's class, which it bears from now on, wherever it goes.

    Raises:
        ConfigurationError: it uses what cannot be followed.
    """
    try:
        reach = Reach(kind)
    except UntraceableError as error:
        raise ConfigurationError(str(error)) from error
    except Exception as error:  # of the user's own objects, when they are looked at
        raise ConfigurationError(f"class {kind.__qualname__}: {described(error)}") from error
    name = f"{kind.__qualname__}@{reach.digest}"
    setattr(kind, CANONICAL_NAME, name)
    NAMED[kind] = reach
    return name


NAMED: dict[type, Reach] = {}
"""The user's classes that have been named in this process, and what they can reach."""
