"""A recipe as a formula, and as Python code for a sweep file."""

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType

import torch

from quantlab import Recipe
from quantlab.backward_maps import StraightThrough
from quantlab.canonical import default_of
from quantlab.datasets import ImageDatasetSpec
from quantlab.scales import Scale
from quantlab.update_rules import Point
from sweeps.loading import FILE_MODULE_PREFIX

WIDTH = 96
"""Longest line of Python, in characters."""
_POINTS = {Point.LATENT: "w*", Point.PROXIMAL: "w = P(w*)"}


def formula(recipe: Recipe) -> str:
    """Write the update rule, the sharpness, and the map of each group of layers as formulas."""
    quantization = recipe.quantization
    if quantization is None:
        return f"{recipe.model.name} in full precision"
    rule = quantization.rule
    start = _POINTS[rule.update_from]
    if quantization.pull is not None:
        start = f"(1 - theta) w* + theta P(w*) with theta = {source(quantization.pull)}"
    lines = [
        f"{recipe.model.name}: gradient at {_POINTS[rule.gradient_at]}, step from {start}",
        f"s = {source(quantization.sharpness)}",
    ]
    if type(quantization.backward) is not StraightThrough:
        lines.append(f"backward map {source(quantization.backward)}")
    if quantization.step_scale is not None:
        lines.append(f"steps of w* times {source(quantization.step_scale)}")
    for group in quantization.groups:
        own = "" if group.sharpness is None else f" with s = {source(group.sharpness)}"
        own += _levels_at(group.scale)
        lines.append(f"{', '.join(group.layers)}{own}: {group.quantizer.formula}")
    rest = other_layers(recipe)
    if rest is not None:
        where = f"{rest}{_levels_at(quantization.scale)}".strip()
        lines.append(f"{f'{where}: ' if where else ''}{quantization.quantizer.formula}")
    return "\n".join(lines)


def _levels_at(scale: Scale | None) -> str:
    """Return a remark on where the levels stand; empty if they are those of the set."""
    return "" if scale is None else f" with levels placed by {source(scale)}"


def other_layers(recipe: Recipe) -> str | None:
    """Return a name for the layers that belong to no group.

    Returns:
        An empty text if there are no groups; None if every layer belongs to one, as far as the
        network can be built without its data.
    """
    quantization = recipe.quantization
    if quantization is None or not quantization.groups:
        return ""
    known = recipe.dataset.dimensions
    try:
        with torch.device("meta"):  # only the names of the layers are needed
            if known is not None:
                model = recipe.model.build_for(known)
            elif isinstance(recipe.dataset, ImageDatasetSpec):
                channels = recipe.dataset.num_channels
                model = recipe.model.build(num_classes=2, num_channels=channels)
            else:
                return "other layers"
    except Exception:  # a user's network may need its true sizes, or another device
        return "other layers"
    return "other layers" if None in quantization.group_of_weights(model).values() else None


def snippet(recipe: Recipe) -> str:
    """Write Python code that makes the model and the quantization of a recipe, with its imports.

    Classes of the study's own file are not imported, as the code belongs beside them.
    """
    modules: dict[str, set[str]] = {}
    for kind in (*_kinds(recipe.model), *_kinds(recipe.quantization)):
        if not kind.__module__.startswith(FILE_MODULE_PREFIX):
            modules.setdefault(kind.__module__, set()).add(kind.__name__)
    imports = [f"from {name} import {', '.join(sorted(modules[name]))}" for name in sorted(modules)]
    values = [f"MODEL = {source(recipe.model)}", f"QUANTIZATION = {source(recipe.quantization)}"]
    return "\n".join([*imports, "", *values])


def source(value: object, indent: int = 0) -> str:
    """Write a value of nested dataclasses as Python, without fields that have their defaults.

    Args:
        value: a dataclass, an enum, a tuple, or a value whose `repr` is Python.
        indent: of the line on which it starts.
    """
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{field.name}={source(own, indent + 4)}"
            for field in dataclasses.fields(value)
            if field.init
            and ((own := getattr(value, field.name)) != default_of(field) or field.name == "levels")
        ]  # the levels are always written
        return _call(f"{type(value).__name__}(", parts, ")", indent)
    if isinstance(value, tuple):
        parts = [source(item, indent + 4) for item in value]
        if len(parts) == 1:
            return f"({parts[0]},)"
        are_plain = all(isinstance(item, int | float | str) for item in value)
        return f"({', '.join(parts)})" if are_plain else _call("(", parts, ")", indent)
    if isinstance(value, Mapping):
        parts = [f"{key!r}: {source(item, indent + 4)}" for key, item in value.items()]
        return _call("{", parts, "}", indent)
    return value.__qualname__ if isinstance(value, type | FunctionType) else repr(value)


def _call(head: str, parts: list[str], tail: str, indent: int) -> str:
    """Write a call on one line if it fits, or else one line for each argument."""
    line = f"{head}{', '.join(parts)}{tail}"
    if "\n" not in line and indent + len(line) <= WIDTH:
        return line
    inner = " " * (indent + 4)
    return "\n".join([head, *(f"{inner}{part}," for part in parts), " " * indent + tail])


def _kinds(value: object) -> Iterator[type | FunctionType]:
    """Yield the classes and functions that the Python code of a value uses."""
    if isinstance(value, Enum):
        yield type(value)
    elif isinstance(value, type | FunctionType):
        yield value
    elif isinstance(value, tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _kinds(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in dataclasses.fields(value):
            own = getattr(value, field.name)
            if own != default_of(field):
                yield from _kinds(own)
