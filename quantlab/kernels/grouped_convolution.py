"""3x3 convolutions of several networks at once, with Triton kernels for GPUs.

cuDNN computes the gradients of strided grouped convolutions one group at a time, in many small
kernels. It computes those without a stride at least as fast as the kernels here, so that packs use
cuDNN for them.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Tiles(NamedTuple):
    """Tile sizes of a kernel."""

    taps: int
    """Number of positions of the 3x3 window in one matrix product, a power of 2."""
    block: int
    """Number of pixels per program, or per iteration of a program."""
    warps: int
    """Number of warps per program."""
    stages: int = 1
    """Number of iterations whose loads overlap."""
    splits: int = 1
    """Number of parts of the pixels that are summed by separate programs."""


FORWARD, BACKWARD, WEIGHTS = "forward", "backward", "weights"

TILES: dict[tuple[str, int], Tiles] = {
    (FORWARD, 16): Tiles(2, 128, 4),
    (FORWARD, 32): Tiles(1, 128, 4),
    (FORWARD, 64): Tiles(1, 128, 8),
    (BACKWARD, 16): Tiles(2, 128, 4),
    (BACKWARD, 32): Tiles(2, 128, 4),
    (BACKWARD, 64): Tiles(1, 128, 8),
    (WEIGHTS, 16): Tiles(4, 128, 4, splits=32),
    (WEIGHTS, 32): Tiles(4, 64, 4, splits=16),
    (WEIGHTS, 64): Tiles(2, 64, 4, splits=8),
}
"""Tiles by computation and number of input channels: the fastest of five on an H200. They are fixed
instead of tuned at run time, because sums must be the same in every process."""


def is_fitting(layer: nn.Conv2d) -> bool:
    """Whether packs use these kernels for a layer.

    The kernels support 3x3 windows with padding 1 and 16, 32 or 64 output channels. They are faster
    than cuDNN only for layers with a stride of 2.

    Args:
        layer: layer of a single network.
    """
    return (
        find_spec("triton") is not None
        and layer.kernel_size == (3, 3)
        and layer.padding == (1, 1)
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.stride == (2, 2)
        and layer.groups == 1
        and layer.bias is None
        and layer.in_channels <= 64
        and layer.out_channels in (16, 32, 64)
    )


def grouped_convolution(images: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
    """Compute ``F.conv2d(images, weight, stride=stride, padding=1, groups=groups)``.

    Args:
        images: (batch, groups * channels, height, width), preferably in channels-last memory, which
            needs no copy.
        weight: (groups * out_channels, channels, 3, 3).
        groups: number of networks.
        stride: 1 or 2.

    Returns:
        (batch, groups * out_channels, height, width) in channels-last memory. Under autocast it has
        autocast's dtype. Factors are bfloat16 or TF32, and sums are float32.
    """
    kind = images.device.type
    if torch.is_autocast_enabled(kind):
        precision = torch.get_autocast_dtype(kind)
        images, weight = images.to(precision), weight.to(precision)
    result: Tensor = _convolution(images, weight, groups, stride)
    return result


class GroupedConvolution(nn.Module):
    """A convolution layer of several networks, whose weights are set before each call."""

    weight: Tensor
    """(groups * out_channels, channels, 3, 3)"""

    def __init__(self, groups: int, stride: int) -> None:
        super().__init__()
        self.register_parameter("weight", None)
        self._groups, self._stride = groups, stride

    def forward(self, images: Tensor) -> Tensor:
        """Compute the convolution; see `grouped_convolution`."""
        return grouped_convolution(images, self.weight, self._groups, self._stride)


@torch.library.custom_op("quantlab::convolution_of_groups", mutates_args=())
def _convolution(images: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = _output(images, weight, groups, stride)
    taps = _by_tap(weight, groups).contiguous()
    _convolve(FORWARD, images, taps, output, groups, stride)
    return output


@_convolution.register_fake
def _output(images: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
    """Return the empty result of the convolution, also for torch.compile."""
    height, width = ((size - 1) // stride + 1 for size in images.shape[2:])
    return _empty(images, (images.shape[0], weight.shape[0], height, width))


@torch.library.custom_op("quantlab::grouped_convolution_gradients", mutates_args=())
def _backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    groups: int,
    stride: int,
    with_images: bool,
    with_weight: bool,
) -> tuple[Tensor, Tensor]:
    images = images.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    of_images, of_weight = _gradients(
        gradient, images, weight, groups, stride, with_images, with_weight
    )
    if with_images:
        taps = _by_tap(weight, groups).transpose(2, 3).contiguous()
        _convolve(BACKWARD, gradient, taps, of_images, groups, stride)
    if with_weight:
        of_weight = _weight_gradient(images, gradient, weight, groups, stride)
    return of_images, of_weight


@_backward.register_fake
def _gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    groups: int,
    stride: int,
    with_images: bool,
    with_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the empty gradients, also for torch.compile. Those not needed have no elements."""
    of_images = _empty(images, images.shape if with_images else (0, *images.shape[1:]))
    return of_images, weight.new_empty(weight.shape if with_weight else (0,))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, weight, ctx.groups, ctx.stride = inputs
    ctx.save_for_backward(images, weight)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    images, weight = ctx.saved_tensors
    wanted = [bool(needed) for needed in ctx.needs_input_grad[:2]]
    found = _backward(gradient, images, weight, ctx.groups, ctx.stride, *wanted)
    of_images, of_weight = (
        one if is_wanted else None for one, is_wanted in zip(found, wanted, strict=True)
    )
    return of_images, of_weight, None, None


_convolution.register_autograd(_differentiate, setup_context=_remember)


def _convolve(
    what: str, images: Tensor, taps: Tensor, output: Tensor, groups: int, stride: int
) -> None:
    from quantlab.kernels.grouped_convolution_kernels import convolve

    _, _, channels, out_channels = taps.shape
    padded = _padded(channels)
    tiles = TILES[what, padded]
    num_pixels = output.shape[0] * output.shape[2] * output.shape[3]
    convolve[(groups * _blocks(num_pixels, tiles.block),)](
        images,
        taps,
        output,
        num_pixels,
        *images.shape[2:],
        *output.shape[2:],
        groups,
        CHANNELS=channels,
        CHANNELS_PADDED=padded,
        OUT_CHANNELS=out_channels,
        OUT_CHANNELS_PADDED=_padded(out_channels),
        STRIDE=stride,
        TRANSPOSED=what == BACKWARD,
        TAPS=tiles.taps,
        BLOCK=tiles.block,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )


def _weight_gradient(
    images: Tensor, gradient: Tensor, weight: Tensor, groups: int, stride: int
) -> Tensor:
    from quantlab.kernels.grouped_convolution_kernels import weight_gradient

    channels, out_channels = weight.shape[1], weight.shape[0] // groups
    padded = _padded(channels)
    tiles = TILES[WEIGHTS, padded]
    num_pixels = gradient.shape[0] * gradient.shape[2] * gradient.shape[3]
    blocks = _blocks(num_pixels, tiles.block)
    splits = min(tiles.splits, blocks)
    sums = images.new_empty(splits, groups, 9, channels, out_channels, dtype=torch.float32)
    weight_gradient[(groups * _blocks(9, tiles.taps) * splits,)](
        images,
        gradient,
        sums,
        num_pixels,
        *images.shape[2:],
        *gradient.shape[2:],
        groups,
        _blocks(blocks, splits),
        CHANNELS=channels,
        CHANNELS_PADDED=padded,
        OUT_CHANNELS=out_channels,
        STRIDE=stride,
        TAPS=tiles.taps,
        BLOCK=tiles.block,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    window = sums.sum(0).view(groups, 3, 3, channels, out_channels).permute(0, 4, 3, 1, 2)
    return window.reshape(weight.shape).to(weight.dtype)


def _by_tap(weight: Tensor, groups: int) -> Tensor:
    """Rearrange (groups * out, in, 3, 3) to (groups, 9, in, out)."""
    return weight.reshape(groups, -1, weight.shape[1], 9).permute(0, 3, 2, 1)


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(
        tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _padded(channels: int) -> int:
    """Return the smallest power of 2 >= the number of channels, at least 16 for matrix products."""
    return max(16, 1 << (channels - 1).bit_length())


def _blocks(count: int, size: int) -> int:
    return -(-count // size)
