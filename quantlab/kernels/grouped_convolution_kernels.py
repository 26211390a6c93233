"""Triton kernels of 3x3 convolutions of several networks with few channels each.

Activations are (batch, height, width, group, channel) in memory, which is channels-last with the
channels of a network together. Weights are (group, tap, channel in, channel out), where a tap is a
position of the 3x3 window. Each program computes one group, whose channels are the columns of its
matrix products. Several taps are placed side by side in a factor, so that products are large
enough.
"""

import triton
import triton.language as tl


@triton.jit
def convolve(
    images,
    weights,
    outputs,
    num_pixels,
    height,
    width,
    out_height,
    out_width,
    groups,
    CHANNELS: tl.constexpr,
    CHANNELS_PADDED: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    OUT_CHANNELS_PADDED: tl.constexpr,
    STRIDE: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute a convolution with padding 1, or with TRANSPOSED the gradient of its input.

    `height` and `width` are those of `images`, `out_height` and `out_width` those of `outputs`,
    which has `num_pixels` pixels. Each sum is computed by one program, in a fixed order.
    """
    program = tl.program_id(0)
    group = program % groups
    pixel = (program // groups) * BLOCK + tl.arange(0, BLOCK)
    is_pixel = pixel < num_pixels
    image = pixel // (out_height * out_width)
    row = pixel // out_width % out_height
    column = pixel % out_width
    factor = tl.arange(0, TAPS * CHANNELS_PADDED)
    channel = factor % CHANNELS_PADDED
    out_channel = tl.arange(0, OUT_CHANNELS_PADDED)
    is_out = out_channel < OUT_CHANNELS
    sums = tl.zeros((BLOCK, OUT_CHANNELS_PADDED), dtype=tl.float32)
    for first in tl.static_range(0, 9, TAPS):
        tap = first + factor // CHANNELS_PADDED
        is_factor = (tap < 9) & (channel < CHANNELS)
        if TRANSPOSED:
            up = row[:, None] + 1 - (tap // 3)[None, :]
            left = column[:, None] + 1 - (tap % 3)[None, :]
            in_row = up // STRIDE
            in_column = left // STRIDE
            inside = (up >= 0) & (left >= 0) & (in_row < height) & (in_column < width)
            inside &= (up % STRIDE == 0) & (left % STRIDE == 0)
        else:
            in_row = (row * STRIDE - 1)[:, None] + (tap // 3)[None, :]
            in_column = (column * STRIDE - 1)[:, None] + (tap % 3)[None, :]
            inside = (in_row >= 0) & (in_column >= 0) & (in_row < height) & (in_column < width)
        in_pixel = (image[:, None] * height + in_row) * width + in_column
        place = in_pixel.to(tl.int64) * (groups * CHANNELS) + group * CHANNELS + channel[None, :]
        seen = tl.load(
            images + place, mask=inside & is_pixel[:, None] & is_factor[None, :], other=0.0
        )
        weight_row = (group * 9 + tap) * CHANNELS + channel
        weight = tl.load(
            weights + weight_row[:, None] * OUT_CHANNELS + out_channel[None, :],
            mask=is_factor[:, None] & is_out[None, :],
            other=0.0,
        )
        sums = tl.dot(seen, weight, sums)
    out_place = pixel.to(tl.int64)[:, None] * (groups * OUT_CHANNELS) + group * OUT_CHANNELS
    tl.store(
        outputs + out_place + out_channel[None, :],
        sums.to(outputs.dtype.element_ty),
        mask=is_pixel[:, None] & is_out[None, :],
    )


@triton.jit
def weight_gradient(
    images,
    gradients,
    partial_sums,
    num_pixels,
    height,
    width,
    out_height,
    out_width,
    groups,
    blocks_a_split,
    CHANNELS: tl.constexpr,
    CHANNELS_PADDED: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute sums over a part of the pixels: (split, group, tap, channel in, channel out) float32.

    The sum over the splits is the gradient of the weights.
    """
    program = tl.program_id(0)
    group = program % groups
    PARTS: tl.constexpr = (9 + TAPS - 1) // TAPS
    part = program // groups % PARTS
    split = program // groups // PARTS
    factor = tl.arange(0, TAPS * CHANNELS_PADDED)
    channel = factor % CHANNELS_PADDED
    tap = part * TAPS + factor // CHANNELS_PADDED
    is_factor = (tap < 9) & (channel < CHANNELS)
    out_channel = tl.arange(0, OUT_CHANNELS)
    sums = tl.zeros((TAPS * CHANNELS_PADDED, OUT_CHANNELS), dtype=tl.float32)
    for block in range(split * blocks_a_split, (split + 1) * blocks_a_split):
        pixel = block * BLOCK + tl.arange(0, BLOCK)
        is_pixel = pixel < num_pixels
        image = pixel // (out_height * out_width)
        in_row = (pixel // out_width % out_height * STRIDE - 1)[:, None] + (tap // 3)[None, :]
        in_column = (pixel % out_width * STRIDE - 1)[:, None] + (tap % 3)[None, :]
        inside = (in_row >= 0) & (in_column >= 0) & (in_row < height) & (in_column < width)
        in_pixel = (image[:, None] * height + in_row) * width + in_column
        place = in_pixel.to(tl.int64) * (groups * CHANNELS) + group * CHANNELS + channel[None, :]
        seen = tl.load(
            images + place, mask=inside & is_pixel[:, None] & is_factor[None, :], other=0.0
        )
        out_place = pixel.to(tl.int64)[:, None] * (groups * OUT_CHANNELS) + group * OUT_CHANNELS
        gradient = tl.load(
            gradients + out_place + out_channel[None, :], mask=is_pixel[:, None], other=0.0
        )
        sums = tl.dot(tl.trans(seen), gradient, sums)
    sum_row = ((split * groups + group) * 9 + tap) * CHANNELS + channel
    tl.store(
        partial_sums + sum_row.to(tl.int64)[:, None] * OUT_CHANNELS + out_channel[None, :],
        sums,
        mask=is_factor[:, None],
    )
