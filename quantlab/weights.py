"""Which parameters of a model are quantized, and which weight group they belong to."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from quantlab.errors import ConfigurationError

_WEIGHT_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def quantized_weights(model: nn.Module, exclude: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """The weights of all convolution and linear layers, less those of excluded layers.

    Chosen by module type, so that batch normalization and biases stay in full precision
    (ProxConnect paper, B.1.1).

    Args:
        model: any module.
        exclude: module types (``"Linear"``) and shell-style patterns of layer names (``"conv1"``,
            ``"layer3.*"``).

    Returns:
        Parameter names in the order of the model's layers, with the parameters.

    Raises:
        ConfigurationError: a pattern matches no such layer, or no layer is left.
    """
    layers = _weight_layers(model)
    excluded = {
        name for pattern in exclude for name in _matching(layers, pattern, "quantization.exclude")
    }
    chosen = {
        f"{name}.weight": module.get_parameter("weight")
        for name, module in layers.items()
        if name not in excluded
    }
    if not chosen:
        raise ConfigurationError(
            f"quantization.exclude = {tuple(exclude)}: leaves no layer to quantize; "
            f"layers: {', '.join(layers)}"
        )
    return chosen


def group_of_weights(
    model: nn.Module, exclude: Sequence[str], groups: Sequence[Sequence[str]]
) -> dict[str, int | None]:
    """The weight group of every quantized weight: the product map of Theorem 3.2.

    Args:
        model: any module.
        exclude: as in `quantized_weights`.
        groups: for each group, its module types and patterns of layer names.

    Returns:
        Parameter names in the order of the model's layers, each with the position of the one group
        it belongs to, or None if it belongs to none.

    Raises:
        ConfigurationError: a pattern matches no quantized layer, or a layer is in two groups.
    """
    layers = _weight_layers(model)
    quantized = {
        name: layers[name]
        for name in (weight.removesuffix(".weight") for weight in quantized_weights(model, exclude))
    }
    member_of: dict[str, int] = {}
    for position, patterns in enumerate(groups):
        for pattern in patterns:
            where = f"quantization.groups[{position}].layers"
            for name in _matching(quantized, pattern, where):
                if member_of.setdefault(name, position) != position:
                    raise ConfigurationError(
                        f"{where}: {pattern!r} matches {name}, which is already in "
                        f"groups[{member_of[name]}]; a layer belongs to one group"
                    )
    return {f"{name}.weight": member_of.get(name) for name in quantized}


def _weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module for name, module in model.named_modules() if isinstance(module, _WEIGHT_LAYERS)
    }


def _matching(layers: Mapping[str, nn.Module], pattern: str, where: str) -> list[str]:
    """Names of the layers of a type, or of a name that matches."""
    names = [
        name
        for name, module in layers.items()
        if type(module).__name__ == pattern or fnmatchcase(name, pattern)
    ]
    if not names:
        types = sorted({type(module).__name__ for module in layers.values()})
        raise ConfigurationError(
            f"{where}: {pattern!r} matches no layer; layers: {', '.join(layers)} "
            f"(of type {', '.join(types)})"
        )
    return names
