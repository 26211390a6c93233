"""How the convolutions' kernels cut their work best: all candidates, on the shapes of ResNet20."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu.floors import seconds
from benchmarks.gpu.part import Settings, Tell, starting
from quantlab import grouped_convolution as own
from quantlab.grouped_convolution import BACKWARD, FORWARD, TILES, WEIGHTS, Tiles

GROUPS, BATCH = 27, 128
SIZES = {16: 32, 32: 16, 64: 8}
"""Channels -> height and width."""
TOLERANCE = 0.02
"""Of relative distances: results have 8 bits."""

CANDIDATES: dict[str, dict[int, tuple[Tiles, ...]]] = {
    FORWARD: {
        16: (Tiles(4, 64, 4), Tiles(2, 128, 4), Tiles(4, 256, 8), Tiles(1, 128, 4)),
        32: (Tiles(2, 64, 4), Tiles(1, 128, 4), Tiles(4, 128, 4), Tiles(2, 128, 8)),
        64: (Tiles(1, 64, 4), Tiles(1, 128, 8), Tiles(2, 128, 8), Tiles(2, 64, 4)),
    },
    WEIGHTS: {
        16: (
            Tiles(4, 128, 4, splits=32),
            Tiles(16, 128, 8, splits=32),
            Tiles(16, 64, 4, splits=64),
            Tiles(16, 64, 4, stages=3, splits=32),
            Tiles(8, 128, 4, splits=32),
        ),
        32: (
            Tiles(8, 64, 8, splits=16),
            Tiles(4, 128, 8, splits=16),
            Tiles(4, 64, 4, stages=3, splits=16),
            Tiles(4, 64, 4, splits=32),
        ),
        64: (
            Tiles(4, 64, 8, splits=8),
            Tiles(1, 64, 4, splits=16),
            Tiles(2, 64, 4, stages=3, splits=8),
            Tiles(2, 64, 4, splits=16),
        ),
    },
}
"""Beside those that are used."""


def use(best: Mapping[str, Mapping[str, Any]]) -> None:
    """Cut the work so from now on, in this process."""
    for key, found in best.items():
        what, channels = key.split()
        TILES[what, int(channels)] = Tiles(**found)


def fastest(settings: Settings, tell: Tell) -> Mapping[str, Any]:
    """Seconds of each, and the best of each kernel and number of channels."""
    if settings.tiny:
        return {"best": {}}
    keys = [(what, channels) for what in (FORWARD, BACKWARD, WEIGHTS) for channels in SIZES]
    with ProcessPoolExecutor(len(keys), mp_context=starting(settings.device)) as pool:
        list(pool.map(_compile, keys))
    best, times = {}, {}
    for key in keys:
        name = f"{key[0]} {key[1]}"
        times[name] = _times(key, settings)
        tile = min(times[name], key=lambda it: times[name][it])
        found = next(one for one in _candidates(key) if str(one) == tile)
        best[name] = found._asdict()
        tell({"best": best, "milliseconds": times})
    use(best)
    found = {"best": best, "milliseconds": times, "errors": (errors := _errors())}
    found["right"] = all(error < TOLERANCE for error in errors.values())
    tell(found)
    return {**found, "cudnn_milliseconds": _cudnn(settings)}


def _errors() -> dict[str, float]:
    """Relative distances from what the library gives, of factors in bfloat16, too."""
    found = {}
    for channels, size in SIZES.items():
        images, weight = _inputs(channels, size)
        images.requires_grad_()
        weight.requires_grad_()
        expected = F.conv2d(images, weight, padding=1, groups=GROUPS)
        output = own.grouped_convolution(images, weight, GROUPS, 1)
        upstream = torch.randn_like(output)
        pairs = [
            (output, expected),
            *zip(
                torch.autograd.grad(output, (images, weight), upstream),
                torch.autograd.grad(expected, (images, weight), upstream),
                strict=True,
            ),
        ]
        for what, (one, other) in zip((FORWARD, BACKWARD, WEIGHTS), pairs, strict=True):
            difference = (one.float() - other.float()).norm() / other.float().norm()
            found[f"{what} {channels}"] = float(difference)
    return found


def _candidates(key: tuple[str, int]) -> Iterable[Tiles]:
    what, channels = key
    return TILES[key], *CANDIDATES[FORWARD if what == BACKWARD else what][channels]


def _call(key: tuple[str, int]) -> Any:
    """What computes one kernel on one shape."""
    what, channels = key
    size = SIZES[channels]
    images, weight = _inputs(channels, size)
    if what == WEIGHTS:
        return lambda: own._weight_gradient(images, images, weight, GROUPS, 1)
    taps, output = own._by_tap(weight, GROUPS).contiguous(), torch.empty_like(images)
    return lambda: own._convolve(what, images, taps, output, GROUPS, 1)


def _inputs(channels: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(
        BATCH, GROUPS * channels, size, size, device="cuda", dtype=torch.bfloat16
    ).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(GROUPS * channels, channels, 3, 3, device="cuda", dtype=torch.bfloat16)
    return images, weight


def _compile(key: tuple[str, int]) -> None:
    """Into the cache on disk."""
    usual, call = TILES[key], _call(key)
    for candidate in _candidates(key):
        TILES[key] = candidate
        try:
            call()
        except Exception as error:
            print(f"{key} {candidate}: {error}")
    TILES[key] = usual


def _times(key: tuple[str, int], settings: Settings) -> dict[str, float]:
    usual, call, found = TILES[key], _call(key), {}
    for candidate in _candidates(key):
        TILES[key] = candidate
        try:
            found[str(candidate)] = 1e3 * seconds(call, settings.device, 20)
        except Exception as error:
            print(f"{key} {candidate}: {error}")
    TILES[key] = usual
    return found


def _cudnn(settings: Settings) -> dict[str, float]:
    """The same by the library, for comparison."""
    found = {}
    for channels, size in SIZES.items():
        images, weight = _inputs(channels, size)
        images.requires_grad_()
        weight.requires_grad_()

        def forward(images: Any = images, weight: Any = weight) -> torch.Tensor:
            return F.conv2d(images, weight, padding=1, groups=GROUPS)

        output = forward()
        found[f"forward {channels}"] = 1e3 * seconds(forward, settings.device)
        for name, wanted in (("backward", images), ("weights", weight)):
            found[f"{name} {channels}"] = 1e3 * seconds(
                lambda output=output, wanted=wanted: torch.autograd.grad(
                    output, wanted, output, retain_graph=True
                ),
                settings.device,
            )
    return found
