"""The number of bits per weight of a network."""

import math

from torch import Tensor, nn

from quantlab.quantizers import Quantizer
from quantlab.recipe import Quantization

FULL_PRECISION = 32.0
"""Number of bits of a number that is not quantized, whatever its dtype in training."""


def bits_by_weight(model: nn.Module, quantization: Quantization | None) -> dict[str, float]:
    """Return log2 of the number of levels of each quantized weight, plus its share of a scale.

    The numbers that determine the levels of a row count 32 bits each.

    A weight on an unbounded set has 32 bits, because nothing bounds the place of its level.

    Args:
        model: network as it was built. A hard-quantized network has no weights to quantize.
        quantization: quantization of the recipe; None in full precision.

    Returns:
        Parameter names with their number of bits; empty in full precision.

    Raises:
        ConfigurationError: see `quantlab.models.weights.group_of_weights`.
    """
    if quantization is None:
        return {}
    bits = {}
    for name, group in quantization.group_of_weights(model).items():
        own = group or quantization
        bits[name] = bits_of(own.quantizer)
        if own.scale is not None:
            length = own.scale.row_length(model.get_parameter(name).shape, name)
            bits[name] += FULL_PRECISION * own.scale.num_stored(own.quantizer.levels) / length
    return bits


def bits_of(quantizer: Quantizer) -> float:
    """Return the bits of a weight: log2 of the number of levels, or 32 on an unbounded set."""
    return math.log2(len(quantizer.levels)) if quantizer.is_bounded else FULL_PRECISION


def mean_bits(model: nn.Module, quantization: Quantization | None) -> tuple[float, float]:
    """Return the mean number of bits of a quantized weight, and of any number of the network.

    The numbers of the network are all floating-point entries of its state dict: quantized weights,
    biases, normalization with its running statistics, and all weights in full precision. An entry
    that layers share is counted once.

    Args:
        model: see `bits_by_weight`.
        quantization: quantization of the recipe; None in full precision, which gives 32 and 32.

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
