"""Steps: images a second of ResNet20 at batch 128, in packs of growing size, in every way."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from measuring import RandomImages, benchmark_recipes
from packs import members
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.part import Measurement, Settings, Tell
from quantlab import Recipe
from quantlab.execution import Execution, parse_execution
from quantlab.models.resnet import ResNet
from quantlab.pack_probe import seconds_a_step
from quantlab.packs import PackedRun
from quantlab.stacked_network import Stacking


@dataclass(frozen=True)
class Way:
    """How to compute a step."""

    options: str
    """Of `Execution`."""
    size: int
    stacking: Stacking | None = None
    """None for the one that packs choose by themselves."""

    @property
    def name(self) -> str:
        """Size, options, and the way to stack if it is not the usual one."""
        words = [f"K={self.size}", self.options or "default"]
        return " ".join(words + ([self.stacking.value] if self.stacking else []))


EAGER = "no-channels_last"
WAYS = (
    Way("", 1),
    *(Way(options, size) for size in (27, 9, 81) for options in ("bf16", "")),
    *(Way(options, 1) for options in ("bf16", EAGER)),
    *(Way(options, 9, Stacking.VMAP) for options in ("bf16", "")),
    *(Way(options, 3) for options in ("bf16", "")),
    *(Way("bf16", size, Stacking.VMAP) for size in (3, 27, 81)),
)
"""In order of worth."""


def recipe_for(settings: Settings) -> Recipe:
    """ResNet20 on noise; in a rehearsal something much smaller."""
    recipe = benchmark_recipes()["ResNet20, batch 128"]
    if not settings.tiny:
        return recipe
    images = RandomImages(count=320, size=8)
    return replace(recipe, model=ResNet(depth=8, width=4), dataset=images, batch_size=16)


def measurements(settings: Settings) -> Iterator[Measurement]:
    """A step in every way, its parts, and what the GPU does in it."""
    recipe = recipe_for(settings)
    ways = WAYS
    if settings.tiny:
        ways = tuple(
            {way.name: way for way in (replace(w, size=min(w.size, 2)) for w in WAYS)}.values()
        )
    for way in ways:
        yield Measurement(way.name, _timed(recipe, way, settings), 45)
    size = 2 if settings.tiny else 27
    for options in ("bf16",):
        yield Measurement(f"kernels, K={size} {options}", _kernels(recipe, size, options, settings))


def _timed(recipe: Recipe, way: Way, settings: Settings) -> Any:
    def take(tell: Tell) -> Mapping[str, Any]:
        return timed(recipe, way.size, parse_execution(way.options), settings, way.stacking)

    return take


def timed(
    recipe: Recipe,
    size: int,
    execution: Execution,
    settings: Settings,
    stacking: Stacking | None = None,
) -> dict[str, float]:
    """Images a second of a pack, and what follows from it."""
    on_gpu = settings.device != "cpu"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    pack = PackedRun(
        members(recipe, size), device=settings.device, execution=execution, stacking=stacking
    )
    start = time.perf_counter() - begun
    step = seconds_a_step(pack, 0.1 if settings.tiny else 1.5)
    found = {
        "ms_a_trial_step": 1e3 * step / size,
        "images_per_second": recipe.batch_size * size / step,
        "trials_per_hour": 3600 / (step / size * 300 * 352),  # 200 + 100 epochs of 45,000 images
        "start_seconds": start,
    }
    if on_gpu:
        found["peak_memory_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    floors = settings.found["floors"].get("floors", {})
    floor = floors.get("bf16" if execution.bf16 else "tf32", {})
    if floor:
        least = max(floor["seconds_by_bytes"], floor["seconds_by_flop"])
        found["over_floor"] = step / size / least
    return found


def _kernels(recipe: Recipe, size: int, options: str, settings: Settings) -> Any:
    def take(tell: Tell) -> Mapping[str, Any]:
        execution = parse_execution(options)
        pack = PackedRun(members(recipe, size), device=settings.device, execution=execution)
        steps = pack.train(pause_steps=4)
        for _ in range(3):
            next(steps)
        activities = [ProfilerActivity.CPU]
        if settings.device != "cpu":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities) as trace:
            next(steps)
        events = trace.key_averages()
        times = {
            event.key[:90]: (event.self_device_time_total or event.self_cpu_time_total) / 4e3 / size
            for event in events
            if settings.tiny or event.self_device_time_total
        }
        largest = sorted(times.items(), key=lambda item: -item[1])[:25]
        return {"ms_a_trial_step": {name: round(value, 5) for name, value in largest}}

    return take
