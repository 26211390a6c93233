"""Which parameters of a model are quantized."""

from collections.abc import Sequence
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
        exclude: shell-style patterns of layer names, such as ``"conv1"`` or ``"layer3.*"``.

    Returns:
        Parameter names in the order of the model's layers, with the parameters.

    Raises:
        ConfigurationError: a pattern matches no such layer, or no layer is left.
    """
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, _WEIGHT_LAYERS)
    }
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ConfigurationError(
                f"quantization.exclude: {pattern!r} matches no layer; layers: {', '.join(layers)}"
            )
    chosen = {
        f"{name}.weight": module.get_parameter("weight")
        for name, module in layers.items()
        if not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not chosen:
        raise ConfigurationError(
            f"quantization.exclude = {tuple(exclude)}: leaves no layer to quantize; "
            f"layers: {', '.join(layers)}"
        )
    return chosen
