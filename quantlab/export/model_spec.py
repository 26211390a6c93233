"""The network of a recipe's canonical JSON, of classes of this release only."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from quantlab.errors import ConfigurationError, brief, described
from quantlab.identity.release import RELEASE
from quantlab.models import ModelSpec

_ROOM = "quantlab.models."
"""Modules that may be imported, if the release lists them."""


def model_spec_of(recipe: str, source: str) -> ModelSpec:
    """Return the model of a recipe's canonical JSON.

    Args:
        recipe: the text, which may come from anybody.
        source: name of its file in messages.

    Raises:
        ConfigurationError: if the text is not that of a recipe, or if the model is not of a class
            of this release.
    """
    try:
        data = json.loads(recipe)["recipe"]["model"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{source}: has no recipe with a model; build the network and give it to load: "
            "load(path, into=network)"
        ) from error
    return _spec(data, source)


def _spec(data: Any, source: str) -> ModelSpec:
    name = data.get("type") if isinstance(data, dict) else None
    kind = _class_of(name)
    if kind is None:
        made_by = data.get("maker", name) if isinstance(data, dict) else name  # of AnyModule
        what = made_by.partition("@")[0] if isinstance(made_by, str) else made_by
        raise ConfigurationError(
            f"{source}: the network is of the class {brief(what)}, which is not part of quantlab; "
            "build the network and give it to load: load(path, into=network)"
        )
    names = {field.name for field in dataclasses.fields(kind)}
    values = {key: item for key, item in data.items() if key != "type"}
    if unknown := sorted(values.keys() - names):
        raise ConfigurationError(
            f"{source}: {kind.__name__} has no field {brief(unknown[0])} in this release; update "
            "quantlab"
        )
    try:
        return kind(**{key: _value(item, source) for key, item in values.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
    except Exception as error:
        raise ConfigurationError(f"{source}: {kind.__name__}: {described(error)}") from error


def _value(data: Any, source: str) -> Any:
    if isinstance(data, dict) and "type" in data:
        return _spec(data, source)
    if isinstance(data, dict):
        return {key: _value(item, source) for key, item in data.items()}
    return tuple(_value(item, source) for item in data) if isinstance(data, list) else data


def _class_of(name: object) -> type[ModelSpec] | None:
    """Return the class of the release that has a name; None if there is none."""
    for module, names in RELEASE.items():
        if module.startswith(_ROOM) and name in names.split():
            kind = getattr(importlib.import_module(module), str(name), None)
            if isinstance(kind, type) and issubclass(kind, ModelSpec) and kind.is_named:
                return kind
    return None


def built(
    spec: ModelSpec, build: Callable[[], nn.Module], *, most_numbers: int, source: str
) -> nn.Module:
    """Build a network without drawing from the caller's random numbers.

    Args:
        spec: the network.
        build: builds it.
        most_numbers: number of parameters above which the network cannot be that of the file.
        source: name of the file in messages.

    Raises:
        ConfigurationError: if the network has more parameters, or cannot be built.
    """
    try:
        with torch.random.fork_rng(devices=[]), _at_most(most_numbers):
            return build()
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
    except Exception as error:  # such as a size that no memory holds
        raise ConfigurationError(f"{source}: {spec.name}: {described(error)}") from error


@contextmanager
def _at_most(most_numbers: int) -> Iterator[None]:
    """Refuse parameters before they are initialized, if there are too many of them.

    A layer that will share the weight of another one begins with a weight of its own, so that a
    network may have twice as many parameters while it is built.
    """
    seen: dict[int, nn.Parameter] = {}
    count = 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        if parameter is not None and id(parameter) not in seen:
            seen[id(parameter)] = parameter
            count += max(1, parameter.numel())
        if count > 2 * most_numbers:
            raise ConfigurationError(
                f"the network of the recipe has more than the {most_numbers:,} numbers of the file"
            )

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()
