"""What a study has found, for people: as a formula, and as Python that a grid can use."""

import dataclasses
from collections.abc import Iterator
from enum import Enum

import torch

from quantlab import Recipe
from quantlab.canonical import default_of
from quantlab.update_rules import Point
from sweeps.loading import FILE_MODULE_PREFIX

WIDTH = 96
"""Longer lines of Python are broken."""
_POINTS = {Point.LATENT: "w*", Point.PROXIMAL: "w = P(w*)"}


def formula(recipe: Recipe) -> str:
    """The update rule, the clock, and the map of each group of layers with its numbers."""
    quantization = recipe.quantization
    if quantization is None:
        return f"{recipe.model.name} in full precision"
    rule = quantization.rule
    lines = [
        f"{recipe.model.name}: gradient at {_POINTS[rule.gradient_at]}, "
        f"step from {_POINTS[rule.update_from]}",
        f"s = {source(quantization.sharpness)}",
    ]
    for group in quantization.groups:
        own = "" if group.sharpness is None else f" with s = {source(group.sharpness)}"
        lines.append(f"{', '.join(group.layers)}{own}: {group.quantizer.formula}")
    rest = other_layers(recipe)
    if rest is not None:
        lines.append(f"{f'{rest}: ' if rest else ''}{quantization.quantizer.formula}")
    return "\n".join(lines)


def other_layers(recipe: Recipe) -> str | None:
    """What layers without a quantizer of their own are called; empty if no layer has one.

    Returns:
        None if all layers have one, as far as the network can be built without its data.
    """
    quantization = recipe.quantization
    if quantization is None or not quantization.groups:
        return ""
    known = recipe.dataset.dimensions
    try:
        with torch.device("meta"):  # names are all that is wanted
            model = recipe.model.build(
                num_classes=2 if known is None else known.num_classes,
                num_channels=recipe.dataset.num_channels,
            )
    except Exception:  # a user's network may insist on its classes, or on another device
        return "other layers"
    return "other layers" if None in quantization.group_of_weights(model).values() else None


def snippet(recipe: Recipe) -> str:
    """Python that makes the model and the quantization of a recipe, with what is to be imported.

    Classes of a user's own file are named without an import: they are beside the study there.
    """
    modules: dict[str, set[str]] = {}
    for kind in (*_kinds(recipe.model), *_kinds(recipe.quantization)):
        if not kind.__module__.startswith(FILE_MODULE_PREFIX):
            modules.setdefault(kind.__module__, set()).add(kind.__name__)
    imports = [f"from {name} import {', '.join(sorted(modules[name]))}" for name in sorted(modules)]
    values = [f"MODEL = {source(recipe.model)}", f"QUANTIZATION = {source(recipe.quantization)}"]
    return "\n".join([*imports, "", *values])


def source(value: object, indent: int = 0) -> str:
    """Python that makes a value of nested dataclasses, less the fields that have their defaults."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{field.name}={source(own, indent + 4)}"
            for field in dataclasses.fields(value)
            if (own := getattr(value, field.name)) != default_of(field) or field.name == "levels"
        ]  # a map without its set would say little
        return _call(f"{type(value).__name__}(", parts, ")", indent)
    if isinstance(value, tuple):
        parts = [source(item, indent + 4) for item in value]
        if len(parts) == 1:
            return f"({parts[0]},)"
        are_plain = all(isinstance(item, int | float | str) for item in value)
        return f"({', '.join(parts)})" if are_plain else _call("(", parts, ")", indent)
    return repr(value)


def _call(head: str, parts: list[str], tail: str, indent: int) -> str:
    """On one line if it fits, else a line a part."""
    line = f"{head}{', '.join(parts)}{tail}"
    if "\n" not in line and indent + len(line) <= WIDTH:
        return line
    inner = " " * (indent + 4)
    return "\n".join([head, *(f"{inner}{part}," for part in parts), " " * indent + tail])


def _kinds(value: object) -> Iterator[type]:
    """Classes that the value's Python names."""
    if isinstance(value, Enum):
        yield type(value)
    elif isinstance(value, tuple):
        for item in value:
            yield from _kinds(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in dataclasses.fields(value):
            own = getattr(value, field.name)
            if own != default_of(field):
                yield from _kinds(own)
