"""Floors: what the card can do, and what a step of ResNet20 at batch 128 needs at least."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from measuring import benchmark_recipes
from torch import nn

from benchmarks.gpu.part import Measurement, Settings

SIZES = (1, 9, 27, 81)
PASSES_FORWARD, PASSES_BACKWARD = 2, 5
"""Times that the output of a convolution goes through memory, if whatever can be fused is: written
by it and read by the next forward; backward, it and its gradient are read for the sums of batch
normalization, both are read again for the gradients of input and weights, and the former is
written."""


def measurements(settings: Settings) -> Iterator[Measurement]:
    """Bandwidth, rates, and the floors that follow."""
    yield Measurement("rates", lambda tell: rates(settings), 30)
    yield Measurement("floors", lambda tell: floors(rates(settings)), 30)


def rates(settings: Settings) -> dict[str, float]:
    """Bytes a second of a large copy (read and written), FLOP a second of large products."""
    size, side = (2**20, 256) if settings.tiny else (2**29, 8192)
    source = torch.randn(size, device=settings.device)
    target = torch.empty_like(source)
    found = {
        "copy_bytes_per_second": 8 * size / seconds(partial(target.copy_, source), settings.device)
    }
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("float32", torch.float32, False),
    ):
        one = torch.randn(side, side, device=settings.device, dtype=dtype)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        taken = seconds(partial(torch.matmul, one, one), settings.device)
        torch.backends.cuda.matmul.allow_tf32 = before
        found[f"{name}_flop_per_second"] = 2 * side**3 / taken
    return found


def seconds(call: Callable[[], object], device: str, repeats: int = 10) -> float:
    """The median of a few executions, by events on a GPU."""
    times = []
    for turn in range(repeats + 3):
        if device == "cpu":
            begun = time.perf_counter()
            call()
            taken = time.perf_counter() - begun
        else:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            taken = begin.elapsed_time(end) / 1e3
        if turn >= 3:
            times.append(taken)
    return sorted(times)[len(times) // 2]


def floors(rate: Mapping[str, float]) -> dict[str, Any]:
    """Seconds of a step and trial at least, by arithmetic and by traffic, and by K.

    Weights of K trials, their gradients and moments go through memory once a step each; they are
    little beside activations.
    """
    found: dict[str, Any] = dict(rate)
    need = resnet20_needs()
    found |= need
    for name, size_of, flop_rate in (
        ("bf16", 2, rate["bf16_flop_per_second"]),
        ("tf32", 4, rate["tf32_flop_per_second"]),
    ):
        traffic = need["activations"] * size_of * (PASSES_FORWARD + PASSES_BACKWARD)
        traffic += need["parameters"] * 4 * 8  # w, w*, momentum, gradient: read, and written
        by_bytes = traffic / rate["copy_bytes_per_second"]
        by_flop = need["flop"] / flop_rate
        found[name] = {
            "bytes": traffic,
            "seconds_by_bytes": by_bytes,
            "seconds_by_flop": by_flop,
            "step_seconds": {str(size): size * max(by_bytes, by_flop) for size in SIZES},
        }
    return found


def resnet20_needs() -> dict[str, float]:
    """FLOP of forward and backward, entries of all convolutions' outputs, and parameters."""
    recipe = benchmark_recipes()["ResNet20, batch 128"]
    model = recipe.model.build(num_classes=10, num_channels=3)
    found = {"flop": 0.0, "activations": 0.0}

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        entries = recipe.batch_size * output.shape[1:].numel()
        each = 2 * layer.weight[0].numel()
        is_first = inputs[0].shape[1] == 3  # nobody needs the gradient of the images
        found["flop"] += (2 if is_first else 3) * entries * each
        found["activations"] += entries if isinstance(layer, nn.Conv2d) else 0

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.randn(1, 3, 32, 32))
    return {**found, "parameters": float(sum(p.numel() for p in model.parameters()))}
