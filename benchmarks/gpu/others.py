"""Others: processes that share the GPU, a straight-through parametrization, PARQ's optimizer."""

import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.nn.functional as F
from packs import members
from peers import VARIANTS

from benchmarks.gpu.part import Measurement, Settings, Tell, starting
from benchmarks.gpu.steps import recipe_for
from quantlab import Recipe
from quantlab.execution import parse_execution
from quantlab.packs import PackedRun


def measurements(settings: Settings) -> Iterator[Measurement]:
    """Processes that share, and after the first of them one process with what others do."""
    recipe = recipe_for(settings)
    for options, count in (
        ("bf16", 8),
        ("bf16", 4),
        ("bf16", 16),
        ("no-graph", 8),
        ("no-graph", 16),
        ("", 8),
        ("bf16", 2),
    ):
        if settings.tiny and count > 2:
            continue
        name = f"{count} processes, {options or 'default'}"
        yield Measurement(name, _shared(recipe, count, options, settings), 40)
        if (options, count) == ("bf16", 8):
            yield from _peers(recipe, settings)
    if settings.tiny:
        yield from _peers(recipe, settings)


def _peers(recipe: Recipe, settings: Settings) -> Iterator[Measurement]:
    for peer in ("straight-through", "PARQ"):
        for bf16 in (True, False):
            name = f"{peer}, {'bf16' if bf16 else 'default'}"
            yield Measurement(name, _peer(recipe, peer, bf16, settings), 30)


def _shared(recipe: Recipe, count: int, options: str, settings: Settings) -> Any:
    def take(tell: Tell) -> Mapping[str, Any]:
        seconds = 0.5 if settings.tiny else 3.0
        context = starting(settings.device)
        barrier = context.Barrier(count)
        ends: list[Connection] = []
        processes = []
        for place in range(count):
            ours, theirs = context.Pipe(duplex=False)
            work = (members(recipe, count)[place], options, settings.device, seconds)
            process = context.Process(target=_train, args=(*work, barrier, theirs), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            ends.append(ours)
        rates = [end.recv() for end in ends]
        for process in processes:
            process.join()
        steps = sum(rates)
        return {
            "ms_a_trial_step": 1e3 / steps,
            "images_per_second": recipe.batch_size * steps,
            "trials_per_hour": 3600 * steps / (300 * 352),
        }

    return take


def _train(
    recipe: Recipe, options: str, device: str, seconds: float, barrier: Any, parent: Connection
) -> None:
    """Steps a second, while the others train too."""
    torch.set_num_threads(1)
    pack = PackedRun([recipe], device=device, execution=parse_execution(options))
    training = pack.train(pause_steps=4)
    for _ in range(3):
        next(training)
    barrier.wait(timeout=40)
    begun, before = time.perf_counter(), pack.members[0].step
    while time.perf_counter() - begun < seconds:
        next(training)
    done = pack.members[0].step - before
    parent.send(done / (time.perf_counter() - begun))
    barrier.wait(timeout=40)  # nobody ends while others are still measuring


def _peer(recipe: Recipe, peer: str, bf16: bool, settings: Settings) -> Any:
    def take(tell: Tell) -> Mapping[str, Any]:
        device = torch.device(settings.device)
        variant = VARIANTS[peer](recipe, device)
        inputs = torch.randn(recipe.batch_size, 3, 32, 32, device=device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, 10, (recipe.batch_size,), device=device)

        def step() -> None:
            variant.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(variant.model(inputs), labels)
            loss.backward()
            variant.step()

        taken = _seconds_of_many(step, 2 if settings.tiny else 50, device)
        return {
            "ms_a_trial_step": 1e3 * taken,
            "images_per_second": recipe.batch_size / taken,
            "trials_per_hour": 3600 / (taken * 300 * 352),
        }

    return take


def _seconds_of_many(step: Callable[[], None], count: int, device: torch.device) -> float:
    for _ in range(3):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / count
