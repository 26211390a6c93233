"""How many bits a network's weights take, quantized ones and all others."""

import math

from torch import Tensor, nn

from quantlab.recipe import Quantization

FULL_PRECISION = 32.0
"""Bits of a number that is not quantized, whatever it was trained with."""


def bits_by_weight(model: nn.Module, quantization: Quantization | None) -> dict[str, float]:
    """Name of each quantized weight -> log2 of the number of its levels.

    Args:
        model: as it was built; one that has been hard-quantized has nothing left to quantize.
        quantization: None in full precision.

    Raises:
        ConfigurationError: see `quantlab.models.weights.group_of_weights`.
    """
    if quantization is None:
        return {}
    return {
        name: math.log2(len((group or quantization).quantizer.levels))
        for name, group in quantization.group_of_weights(model).items()
    }


def mean_bits(model: nn.Module, quantization: Quantization | None) -> tuple[float, float]:
    """Bits of a quantized weight, and of a number of the whole network; both are means.

    The network's numbers are all that its state dict holds but counters: quantized weights, biases,
    normalization with its running statistics, and whatever stays in full precision, each once, by
    however many layers it is shared.

    Args:
        model: see `bits_by_weight`.
        quantization: None in full precision, which gives 32 and 32.

    Raises:
        ConfigurationError: see `quantlab.models.weights.group_of_weights`.
    """
    bits = bits_by_weight(model, quantization)
    sizes = {name: model.get_parameter(name).numel() for name in bits}
    quantized = sum(sizes[name] * bits[name] for name in bits)
    count = sum(sizes.values())
    stored = {id(value): value for value in model.state_dict(keep_vars=True).values()}
    total = sum(
        value.numel()
        for value in stored.values()
        if isinstance(value, Tensor) and value.is_floating_point()
    )
    if not count:
        return FULL_PRECISION, FULL_PRECISION
    return quantized / count, (quantized + FULL_PRECISION * (total - count)) / total


def full_precision_note(model: nn.Module, quantization: Quantization | None) -> str:
    """What of a network's weights stays in full precision, for people; empty if nothing does.

    It counts parameters of two or more dimensions, and says how to quantize them.

    Args:
        model: as it was built.
        quantization: None in full precision, of which there is nothing to say.
    """
    if quantization is None:
        return ""
    left = quantization.full_precision_weights(model)
    if not left:
        return ""
    quantized = sum(
        model.get_parameter(name).numel() for name in bits_by_weight(model, quantization)
    )
    count = sum(weight.numel() for weight in left.values())
    names = [f"{name} ({weight.numel():,})" for name, weight in left.items()]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))
    return (
        f"{count:,} of {count + quantized:,} weights stay in full precision: {shown}; "
        "layers of quantization.exclude and weights that the model freezes do, and what is neither "
        "a convolution nor a linear layer, unless quantization.include names it"
    )


_SHOWN = 4
