"""Which parameters of a network are quantized, which are not, and which cannot be, by name."""

import re
from collections.abc import Iterable, Mapping

from torch import nn

from quantlab.models.weights import weight_layers
from quantlab.recipe import Quantization

_SHOWN = 6
"""Largest number of names, or of patterns of names, in a list."""
_EXCLUDED = "in quantization.exclude"
_FROZEN = "frozen by the model"
_COMPUTED = "parts of a computed weight, which cannot be quantized itself"
_COMPLEX = "complex, which cannot be quantized"
_OTHER = "not of a convolution or linear layer (name them in quantization.include to quantize them)"


def quantized_note(model: nn.Module, quantization: Quantization | None) -> str:
    """Return a note that lists the parameters that are quantized.

    Args:
        model: network as it was built.
        quantization: quantization of the recipe; None in full precision.

    Returns:
        A sentence for the user, or "" in full precision.

    Raises:
        ConfigurationError: see `quantlab.models.weights.group_of_weights`.
    """
    if quantization is None:
        return ""
    sizes = _sizes(model, quantization.group_of_weights(model))
    return f"{sum(sizes.values()):,} weights are quantized: {_listed(sizes)}"


def full_precision_note(model: nn.Module, quantization: Quantization | None) -> str:
    """Return a note that lists the weights that stay in full precision, and why.

    Only parameters of two or more dimensions are counted.

    Args:
        model: network as it was built.
        quantization: quantization of the recipe; None in full precision.

    Returns:
        A sentence for the user, or "" if there are no such weights.

    Raises:
        ConfigurationError: see `quantlab.models.weights.group_of_weights`.
    """
    if quantization is None:
        return ""
    left = quantization.full_precision_weights(model)
    if not left:
        return ""
    included = [model.get_parameter(name) for name in quantization.group_of_weights(model)]
    quantized = sum(weight.numel() for weight in included if weight.dim() >= 2)
    count = sum(weight.numel() for weight in left.values())
    why: dict[str, list[str]] = {}
    for name in left:
        why.setdefault(_reason(model, name, quantization), []).append(name)
    reasons = [f"{reason}: {_listed(_sizes(model, names))}" for reason, names in why.items()]
    return (
        f"{count:,} of {count + quantized:,} weights stay in full precision: {'; '.join(reasons)}"
    )


def _reason(model: nn.Module, name: str, quantization: Quantization) -> str:
    """Return why a parameter is not quantized."""
    parameter = model.get_parameter(name)
    owner = name.rpartition(".")[0]
    layers = weight_layers(model)
    is_part = ".parametrizations." in f".{name}" or (
        owner in layers and layers[owner]._parameters.get("weight") is None
    )
    if is_part:
        return _COMPUTED
    if parameter.is_complex():
        return _COMPLEX
    if not parameter.requires_grad:
        return _FROZEN
    excluded = layers.keys() - weight_layers(model, quantization.exclude).keys()
    is_excluded = any(layers[layer]._parameters.get("weight") is parameter for layer in excluded)
    return _EXCLUDED if is_excluded else _OTHER


def _sizes(model: nn.Module, names: Iterable[str]) -> dict[str, int]:
    return {name: model.get_parameter(name).numel() for name in names}


def _listed(sizes: Mapping[str, int]) -> str:
    """List names with their sizes; names that differ in their numbers only are one pattern."""
    alike: dict[str, list[str]] = {}
    for name in sizes:
        alike.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    parts = []
    for pattern, names in alike.items():
        size = sum(sizes[name] for name in names)
        tensors = f"{len(names)} tensors, " if len(names) > 1 else ""
        parts.append(f"{pattern if tensors else names[0]} ({tensors}{size:,})")
    others = f" and {len(parts) - _SHOWN} more" * (len(parts) > _SHOWN)
    return ", ".join(parts[:_SHOWN]) + others
