"""Steps: images a second of ResNet20 at batch 128, in packs of growing size, in every way."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from measuring import RandomImages, benchmark_recipes
from packs import members
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import convolutions
from benchmarks.gpu.part import Measurement, Settings, Tell
from quantlab import Recipe
from quantlab.execution import Execution, parse_execution
from quantlab.models.resnet import ResNet
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from quantlab.probing.pack_sizes import seconds_a_step


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


CONVOLUTIONS = "convolutions"
OWN, CUDNN = "bf16,triton,compile", "bf16,compile"
WAYS = (
    Way("no-graph", 1),
    *(Way(CUDNN, size) for size in (81, 27)),
    *(Way(OWN, size) for size in (81, 27)),
    Way("bf16", 81),
    *(Way(options, 1) for options in ("bf16", "")),
    *(Way(options, 27) for options in ("bf16,triton", "bf16", "", "bf16,no-graph", "no-graph")),
    Way("bf16,triton", 81),
    *(Way(options, 9) for options in ("bf16", OWN, "")),
    *(Way(options, 1) for options in ("bf16,no-graph", "no-graph,no-channels_last")),
    *(Way("", size) for size in (81, 3)),
    *(Way("bf16", size, Stacking.VMAP) for size in (27, 9, 3)),
    Way("bf16", 3),
    *(Way(OWN, size) for size in (1, 3)),
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
    if settings.tiny:  # compilers take longer than all the rest
        small = [replace(way, size=min(way.size, 2)) for way in WAYS]
        ways = tuple({way.name: way for way in small if "compile" not in way.options}.values())
    size = 2 if settings.tiny else 27
    options = "bf16" if settings.tiny else OWN
    kernels = Measurement(f"kernels, K={size} {options}", _kernels(recipe, size, options, settings))
    pieces = Measurement(f"shares, K={size} bf16", _shares(recipe, size, settings))
    for place, way in enumerate(ways):
        if place == 3:
            yield Measurement(CONVOLUTIONS, lambda tell: convolutions.compare(settings, tell), 40)
        if place == min(8, len(ways) - 1):
            yield pieces
            yield kernels
        yield Measurement(way.name, _timed(recipe, way, settings), 60)


def best_options(settings: Settings, least: int = 27) -> str:
    """Options of the fastest step of large packs so far."""
    times = {
        name: found["ms_a_trial_step"]
        for name, found in settings.found.get("steps", {}).items()
        if name.startswith("K=") and "ms_a_trial_step" in found and "vmap" not in name
    }
    if not settings.found.get("steps", {}).get(CONVOLUTIONS, {}).get("right", False):
        times = {name: it for name, it in times.items() if "triton" not in name}
    large = {name: it for name, it in times.items() if int(name[2:].split()[0]) >= least}
    return min(large, key=large.__getitem__).partition(" ")[2] if large else "bf16"


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
    seconds, pause = (0.1, 0.1) if settings.tiny else (1.5, 0.4)
    step = seconds_a_step(pack, seconds, pause_seconds=pause)
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


def _shares(recipe: Recipe, size: int, settings: Settings) -> Any:
    """Milliseconds a trial and step of each part, waited for, of steps that are not recorded."""

    def take(tell: Tell) -> Mapping[str, Any]:
        pack = PackedRun(
            members(recipe, size),
            device=settings.device,
            execution=parse_execution("bf16,no-graph"),
            stacking=Stacking.FOLDED,
        )
        steps = pack.train(pause_steps=4)
        next(steps)
        stack = pack._stack
        assert stack is not None
        times: dict[str, float] = {}

        def watched(name: str, call: Any) -> Any:
            def run(*args: Any, **settings_of_call: Any) -> Any:
                _wait(settings)
                begun = time.perf_counter()
                result = call(*args, **settings_of_call)
                _wait(settings)
                times[name] = times.get(name, 0.0) + 1e3 * (time.perf_counter() - begun) / size / 4
                return result

            return run

        class Watched:
            """The dataset, its batches timed."""

            draw = watched("drawing random numbers", stack._ahead.draw)
            drawn_batch = watched("data", stack._ahead.drawn_batch)

        stack._ahead = Watched  # type: ignore[assignment]
        stack._network = watched("forward", stack._network)
        optimizer = stack._optimizer
        optimizer.gradients = watched("backward", optimizer.gradients)  # type: ignore[method-assign]
        for place, prox in enumerate(optimizer._maps):
            optimizer._maps[place] = watched("quantizer", prox)
        for block in optimizer._blocks:
            block.step = watched("optimizer", block.step)  # type: ignore[method-assign]
        next(steps)
        times.clear()
        begun = time.perf_counter()
        next(steps)
        _wait(settings)
        whole = 1e3 * (time.perf_counter() - begun) / size / 4
        rest = whole - sum(times.values())
        return {"ms_a_trial_step": {**times, "loss, numbers and the rest": rest}, "whole": whole}

    return take


def _wait(settings: Settings) -> None:
    if settings.device != "cpu":
        torch.cuda.synchronize()
