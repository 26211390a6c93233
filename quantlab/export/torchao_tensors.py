"""Weights of an exported network as quantized tensors of torchao, where its layout fits.

The package torchao is needed, which quantlab does not install.
"""

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.export.coded_tensor import CodedTensor
from quantlab.export.network_file import NetworkFile

_MOST_BITS = 8


def to_torchao(network: nn.Module, file: NetworkFile) -> list[str]:
    """Replace weights of convolution and linear layers by torchao's ``IntxUnpackedToInt8Tensor``.

    torchao computes (integer - zero point) * scale, with a scale for the tensor or for each output
    channel. Weights are replaced if this gives every one of them bit for bit: if their levels are
    whole multiples of a number, as those of {-1, 1} and {-1, 0, 1} are. The integers of the
    smallest type that holds them are stored in int8.

    Args:
        network: the network of `quantlab.export.load`, which is changed.
        file: content of its file; see `quantlab.export.network.read`.

    Returns:
        Names of the weights that were replaced. The others stay as they are.

    Raises:
        ConfigurationError: if torchao is not installed, or has no such tensors.
    """
    try:
        from torchao.quantization import IntxUnpackedToInt8Tensor
    except ImportError as error:
        raise ConfigurationError(
            f"weights of torchao need the package torchao ({error}); install it with "
            "pip install torchao"
        ) from error
    replaced = []
    for name, of in file.coded.items():
        layer = network.get_submodule(name.rpartition(".")[0])
        if not isinstance(layer, nn.Conv2d | nn.Linear) or not name.endswith("weight"):
            continue
        if (found := _integers(of)) is None:
            continue
        integers, scales = found
        lead = (len(scales), *(1 for _ in of.shape[1:]))
        low, high = int(integers.min()), int(integers.max())
        bits = next(
            n for n in range(1, _MOST_BITS + 1) if -(2 ** (n - 1)) <= low and high < 2 ** (n - 1)
        )
        made = IntxUnpackedToInt8Tensor(
            qdata=integers,
            scale=scales.view(lead),
            zero_point=torch.zeros(lead, dtype=torch.int8),
            target_dtype=getattr(torch, f"int{bits}"),
            block_size=(of.shape[0] // len(scales), *of.shape[1:]),
            dtype=torch.float32,
            activation_quantization=None,
        )
        layer.weight = nn.Parameter(made, requires_grad=False)
        replaced.append(name)
    return replaced


def _integers(of: CodedTensor) -> tuple[Tensor, Tensor] | None:
    """Return int8 numbers and the scale of each row, or None if they do not give the weights."""
    if of.num_rows not in (1, of.shape[0]):
        return None
    weights = of.decoded().view(of.num_rows, -1)
    levels = of.levels if of.scales is None else of.scales[:, None] * of.levels
    sizes = levels.abs()
    scales = sizes.where(sizes > 0, torch.inf).amin(dim=1)
    scales = scales.where(scales.isfinite(), 1.0)
    integers = (weights / scales[:, None]).round()
    if not integers.abs().max() < 2 ** (_MOST_BITS - 1):
        return None
    whole = integers.to(torch.int8)
    given = (whole.to(torch.float32) * scales[:, None]).view(torch.int32)
    is_equal = torch.equal(given, weights.contiguous().view(torch.int32))
    return (whole.view(of.shape), scales) if is_equal else None
