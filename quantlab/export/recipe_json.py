"""Parts of a recipe's canonical JSON as values again, of classes of this release only."""

import dataclasses
import importlib
import json
from dataclasses import dataclass
from typing import Any

from quantlab.datasets import DatasetSpec
from quantlab.errors import ConfigurationError, brief, described
from quantlab.identity.release import RELEASE
from quantlab.models import ModelSpec


@dataclass(frozen=True)
class Part:
    """A field of a recipe that is read."""

    field: str
    """Name of the field."""
    what: str
    """What it is in messages."""
    room: str
    """Beginning of the names of the modules that may be imported, if the release lists them."""
    kind: type
    """Class of which the value must be an instance."""


NETWORK = Part("model", "network", "quantlab.models.", ModelSpec)
DATA = Part("dataset", "dataset", "quantlab.datasets.", DatasetSpec)


def read_part(recipe: str, part: Part, source: str, advice: str) -> Any:
    """Return a part of a recipe.

    Args:
        recipe: canonical JSON of the recipe, which may come from anybody.
        part: the part, `NETWORK` or `DATA`.
        source: name of the file in messages.
        advice: what to do if the part is not of this release.

    Raises:
        ConfigurationError: if the text is not that of a recipe, or if the part is not of a class
            of this release.
    """
    try:
        data = json.loads(recipe)["recipe"][part.field]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{source}: has no recipe with a {part.field}; {advice}"
        ) from error
    value = _instance(data, part, source, advice)
    if not isinstance(value, part.kind):
        raise _not_ours(data, part, source, advice)
    return value


def _instance(data: Any, part: Part, source: str, advice: str) -> Any:
    kind = _class_of(data.get("type") if isinstance(data, dict) else None, part)
    if kind is None:
        raise _not_ours(data, part, source, advice)
    names = {field.name for field in dataclasses.fields(kind)}
    values = {key: item for key, item in data.items() if key != "type"}
    if unknown := sorted(values.keys() - names):
        raise ConfigurationError(
            f"{source}: {kind.__name__} has no field {brief(unknown[0])} in this release; update "
            "quantlab"
        )
    try:
        return kind(**{key: _value(item, part, source, advice) for key, item in values.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
    except Exception as error:
        raise ConfigurationError(f"{source}: {kind.__name__}: {described(error)}") from error


def _value(data: Any, part: Part, source: str, advice: str) -> Any:
    if isinstance(data, dict) and "type" in data:
        return _instance(data, part, source, advice)
    if isinstance(data, dict):
        return {key: _value(item, part, source, advice) for key, item in data.items()}
    if isinstance(data, list):
        return tuple(_value(item, part, source, advice) for item in data)
    return data


def _not_ours(data: Any, part: Part, source: str, advice: str) -> ConfigurationError:
    name = data.get("type") if isinstance(data, dict) else None
    made_by = data.get("maker", name) if isinstance(data, dict) else name  # of AnyModule
    what = made_by.partition("@")[0] if isinstance(made_by, str) else made_by
    return ConfigurationError(
        f"{source}: the {part.what} is of the class {brief(what)}, which is not part of quantlab; "
        f"{advice}"
    )


def _class_of(name: object, part: Part) -> Any:
    """Return the class of the release that has a name; None if there is none."""
    for module, names in RELEASE.items():
        if module.startswith(part.room) and name in names.split():
            kind = getattr(importlib.import_module(module), str(name), None)
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                return None
            is_named = not issubclass(kind, ModelSpec) or kind.is_named
            return kind if is_named else None
    return None
