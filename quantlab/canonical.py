"""The canonical JSON of a recipe, and the fingerprint that identifies a trial."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from enum import Enum
from types import FunctionType
from typing import Any

import numpy as np
import torch

from quantlab.errors import ConfigurationError, brief, described
from quantlab.identity.code_origin import is_users, release_name
from quantlab.identity.source_identity import CANONICAL_NAME, Reach, UntraceableError
from quantlab.recipe import Recipe

_TYPE_FIELD, _ENUM, _PAIRS = "type.", "enum.", "pairs."
"""Reserved keys, which no dataclass field can have. They stand for a field called ``type``, for a
member of a user's enumeration, and for a mapping whose keys are not plain text."""
_RESERVED = {"type", _TYPE_FIELD, _ENUM, _PAIRS}

FORMAT = 1
"""Version that is part of every fingerprint. It is raised when the meaning of a field changes."""


def canonical(value: object, *, defaults: bool = True) -> Any:
    """Convert a value to plain JSON data. Equal values give equal data, others different data.

    Dataclasses become objects with their class as ``"type"``. Whole floats become integers, so that
    ``1`` and ``1.0`` are the same number. NumPy numbers and arrays become the numbers they hold.
    Members of the package's enumerations become their value, members of a user's enumeration their
    class and name. Classes and functions become their name; `source_identity` names those of users.

    Args:
        value: a recipe or a part of one.
        defaults: whether fields that have their default value are written out.

    Raises:
        ConfigurationError: if a value is of an unsupported type or not finite, if a subclass of a
            dataclass is not decorated as a dataclass itself, or if the source of a user's class
            cannot be followed.
    """
    if isinstance(value, Enum):
        if release_name(type(value)) is not None:
            return value.value
        return {_ENUM: _code_name(type(value)), "name": value.name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigurationError(
                f"recipe value {value} has no canonical form: must be a finite number"
            )
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
    if isinstance(value, np.generic | np.ndarray):
        return canonical(value.tolist(), defaults=defaults)
    if isinstance(value, type | FunctionType):
        return _code_name(value)
    if dataclasses.is_dataclass(value):
        kind = type(value)
        if "__dataclass_fields__" not in vars(kind):  # its own fields would be left out
            what = f"class {kind.__qualname__}"
            raise ConfigurationError(
                f"{what} must be a frozen dataclass itself; decorate it with "
                "@dataclass(frozen=True)"
            )
        fields = {
            _TYPE_FIELD if item.name == "type" else item.name: canonical(own, defaults=defaults)
            for item in dataclasses.fields(value)
            for own in (getattr(value, item.name),)
            if defaults or not _is_default(own, default_of(item))
        }
        return {"type": _code_name(kind), **fields}
    if isinstance(value, Mapping):
        items = [(key, canonical(item, defaults=defaults)) for key, item in value.items()]
        if all(isinstance(key, str) and key not in _RESERVED for key, _ in items):
            return dict(items)
        pairs = [[canonical(key, defaults=defaults), item] for key, item in items]
        return {_PAIRS: sorted(pairs, key=_json)}
    if isinstance(value, list | tuple):
        return [canonical(item, defaults=defaults) for item in value]
    raise ConfigurationError(
        f"recipe value {brief(value)} has no canonical form: must be a number, text, a class, a "
        "function, a frozen dataclass, or a sequence or mapping of these"
    )


def canonical_key(value: object) -> str:
    """Return a text that is the same for equal values. The values need not be hashable."""
    return _json(canonical(value))


def canonical_json(recipe: Recipe) -> str:
    """Return the whole recipe as one line of JSON with sorted keys."""
    return _json({"format": FORMAT, "recipe": canonical(recipe)})


def fingerprint(recipe: Recipe) -> str:
    """Return the identity of the recipe's trial: 16 hexadecimal digits of a SHA-256.

    Fields that have their default value are left out. A field that is added later, with the earlier
    behaviour as its default, therefore does not change the identity of finished trials. If the
    meaning of a default changes, `FORMAT` must be raised.
    """
    return _digest(canonical(recipe, defaults=False))


def configuration_id(recipe: Recipe) -> str:
    """Return a fingerprint that is the same for all seeds of a configuration."""
    data = canonical(recipe, defaults=False)
    data["seed"] = "any"
    return _digest(data)


def flatten(recipe: Recipe) -> dict[str, str | int | float | bool | None]:
    """Flatten the recipe to dotted names with plain values, for MLflow parameters and columns.

    The class name of a dataclass is stored under the path of the dataclass. A list of numbers or
    names becomes text such as ``"-1, 0, 1"``; items of a list of dataclasses are stored under their
    positions.
    """
    return flatten_canonical(canonical(recipe))


def flatten_canonical(recipe: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Flatten a recipe that was read from `canonical_json`, as `flatten` does.

    Args:
        recipe: the value of ``recipe`` in the JSON.
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

    visit("", {key: value for key, value in recipe.items() if key != "type"})
    return flat


def _json(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _digest(data: object) -> str:
    return hashlib.sha256(_json({"format": FORMAT, "recipe": data}).encode()).hexdigest()[:16]


def default_of(field: "dataclasses.Field[Any]") -> object:
    """Return a field's default value, or a marker that equals no other value if it has none."""
    # Of a class that was pickled by value and read again, the marker is another object of its kind.
    factory: object = field.default_factory
    return factory() if callable(factory) else field.default


def _is_default(value: Any, default: object) -> bool:
    """Whether a field has its default value.

    Dataclasses that compare equal may differ in fields with ``compare=False``, so their canonical
    forms are compared as well. Arrays cannot be compared and count as different.
    """
    try:
        if value != default:
            return False
    except (ValueError, RuntimeError):
        return False
    is_plain = not dataclasses.is_dataclass(value) and not isinstance(value, Collection)
    return is_plain or isinstance(value, str) or canonical(value) == canonical(default)


def _code_name(kind: type | FunctionType) -> str:
    """Return a name that stays the same when a module is moved; see also `CANONICAL_NAME`."""
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


def name_by_source(kind: type | FunctionType) -> str:
    """Compute the name ``Name@digest`` of a user's class or function, and store it there.

    Raises:
        ConfigurationError: if it uses code that cannot be followed to its source.
    """
    try:
        reach = Reach(kind)
    except UntraceableError as error:
        raise ConfigurationError(str(error)) from error
    except Exception as error:  # the user's objects may raise anything
        raise ConfigurationError(f"{kind.__qualname__}: {described(error)}") from error
    name = f"{kind.__qualname__}@{reach.digest}"
    setattr(kind, CANONICAL_NAME, name)
    NAMED[kind] = reach
    return name


NAMED: dict[type | FunctionType, Reach] = {}
"""The user's classes and functions that this process has named, each with all that it can reach."""
