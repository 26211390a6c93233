"""Our kernels against cuDNN's grouped convolutions, on layers of ResNet20: distance and time."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu.floors import seconds
from benchmarks.gpu.part import Settings, Tell
from quantlab.kernels.grouped_convolution import grouped_convolution

GROUPS, BATCH = 27, 128
LAYERS = ((3, 16, 32, 1), (16, 32, 32, 2), (32, 64, 16, 2), (16, 16, 32, 1))
"""Channels in and out, height and width, stride; packs leave those of stride 1 to cuDNN."""
TOLERANCE = 0.02
"""Of relative distances: results have 8 bits."""


def compare(settings: Settings, tell: Tell) -> Mapping[str, Any]:
    """Milliseconds of forward and backward, relative distances, and whether these are small."""
    if settings.tiny:
        return {"right": False}
    found: dict[str, Any] = {}
    for channels, out_channels, size, stride in LAYERS:
        images = torch.randn(
            BATCH, GROUPS * channels, size, size, device=settings.device, dtype=torch.bfloat16
        ).contiguous(memory_format=torch.channels_last)
        weight = 0.1 * torch.randn(
            GROUPS * out_channels, channels, 3, 3, device=settings.device, dtype=torch.bfloat16
        )
        inputs = (images.requires_grad_(channels > 3), weight.requires_grad_())
        wanted = [one for one in inputs if one.requires_grad]

        def by_cudnn(inputs: Any = inputs, stride: int = stride) -> torch.Tensor:
            return F.conv2d(*inputs, stride=stride, padding=1, groups=GROUPS)

        def by_ours(inputs: Any = inputs, stride: int = stride) -> torch.Tensor:
            return grouped_convolution(*inputs, GROUPS, stride)

        upstream = torch.randn_like(by_cudnn())
        results = []
        row: dict[str, float] = {}
        for name, compute in (("cudnn", by_cudnn), ("ours", by_ours)):
            output = compute()
            gradients = torch.autograd.grad(output, wanted, upstream, retain_graph=True)
            results.append([output.detach(), *gradients])
            row[f"{name}_forward"] = 1e3 * seconds(compute, settings.device, 5)
            row[f"{name}_backward"] = 1e3 * seconds(
                lambda output=output, wanted=wanted, upstream=upstream: torch.autograd.grad(
                    output, wanted, upstream, retain_graph=True
                ),
                settings.device,
                5,
            )
        row["distance"] = max(
            float((own.float() - other.float()).norm() / other.float().norm())
            for other, own in zip(*results, strict=True)
        )
        found[f"{channels} to {out_channels}, stride {stride}"] = row
        right = all(it["distance"] < TOLERANCE for it in found.values() if isinstance(it, dict))
        tell({**found, "right": right})
    return {**found, "right": right}
