"""3x3 convolutions of several networks side by side, on a GPU by kernels of their own.

cuDNN computes gradients of grouped convolutions with a stride one group at a time, in many small
kernels. Those without a stride it does as fast as the kernels here or faster, and packs leave them
to it.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Tiles(NamedTuple):
    """How a kernel cuts its work."""

    taps: int
    """Places of the window in one matrix product, a power of 2."""
    block: int
    """Pixels of a program, or of one of its turns."""
    warps: int
    stages: int = 1
    """Turns whose loads are under way at the same time."""
    splits: int = 1
    """Parts of the pixels that are summed by programs of their own."""


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
"""By what is computed, and by the channels that go in: the fastest of five on an H200. Fixed, not
measured when a program starts: sums must be the same in every process."""


def is_fitting(layer: nn.Conv2d) -> bool:
    """Whether packs compute a layer of one network by the kernels: what cuDNN does group by group.

    They know 3x3 windows with padding 1 and 16, 32 or 64 channels out; a stride is what pays.
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
    """``F.conv2d(images, weight, stride=stride, padding=1, groups=groups)``.

    Args:
        images: (batch, groups * channels, height, width); channels-last memory costs no copy.
        weight: (groups * out_channels, channels, 3, 3).
        groups: networks.
        stride: 1 or 2.

    Returns:
        (batch, groups * out_channels, height, width) in channels-last memory, of the precision of
        autocast if that is on; sums are taken in float32, of factors in bfloat16 or TF32.
    """
    kind = images.device.type
    if torch.is_autocast_enabled(kind):
        precision = torch.get_autocast_dtype(kind)
        images, weight = images.to(precision), weight.to(precision)
    result: Tensor = _convolution(images, weight, groups, stride)
    return result


class GroupedConvolution(nn.Module):
    """A layer of several networks, with weights that are set before each call."""

    weight: Tensor
    """(groups * out_channels, channels, 3, 3)"""

    def __init__(self, groups: int, stride: int) -> None:
        super().__init__()
        self.register_parameter("weight", None)
        self._groups, self._stride = groups, stride

    def forward(self, images: Tensor) -> Tensor:
        """See `grouped_convolution`."""
        return grouped_convolution(images, self.weight, self._groups, self._stride)


@torch.library.custom_op("quantlab::convolution_of_groups", mutates_args=())
def _convolution(images: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    output = _empty(images, _out_shape(images, weight, stride))
    taps = _by_tap(weight, groups).contiguous()
    _convolve(FORWARD, images, taps, output, groups, stride)
    return output


@_convolution.register_fake
def _(images: Tensor, weight: Tensor, groups: int, stride: int) -> Tensor:
    return _empty(images, _out_shape(images, weight, stride))


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
    of_images = _empty(images, images.shape if with_images else (0, *images.shape[1:]))
    if with_images:
        taps = _by_tap(weight, groups).transpose(2, 3).contiguous()
        _convolve(BACKWARD, gradient, taps, of_images, groups, stride)
    if not with_weight:
        return of_images, weight.new_empty(0)
    return of_images, _weight_gradient(images, gradient, weight, groups, stride)


@_backward.register_fake
def _(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    groups: int,
    stride: int,
    with_images: bool,
    with_weight: bool,
) -> tuple[Tensor, Tensor]:
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
    """(groups * out, in, 3, 3) as (groups, 9, in, out)."""
    return weight.reshape(groups, -1, weight.shape[1], 9).permute(0, 3, 2, 1)


def _out_shape(images: Tensor, weight: Tensor, stride: int) -> tuple[int, ...]:
    height, width = ((size - 1) // stride + 1 for size in images.shape[2:])
    return images.shape[0], weight.shape[0], height, width


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(
        tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _padded(channels: int) -> int:
    """The least power of 2 of at least 16, which matrix products need."""
    return max(16, 1 << (channels - 1).bit_length())


def _blocks(count: int, size: int) -> int:
    return -(-count // size)
