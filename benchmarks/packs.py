"""Time of a step of several trials as one stacked network, and of the same trials one by one.

    python benchmarks/packs.py                  # on one CPU thread
    python benchmarks/packs.py --networks GPT   # only those whose name has this part
    python benchmarks/packs.py --device cuda

Members are methods of the ProxConnect paper on three quantization sets, each with its own seed. Two
lower bounds are reported beside the times: the arithmetic of a lone step at the rate of a large
matrix product on this machine, and its memory traffic (every operation reads its inputs and writes
its outputs) at the rate of a large copy.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from measuring import benchmark_recipes, gpt_recipe, prepare, write
from torch import Tensor
from torch.utils import benchmark
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from quantlab import Quantization, Recipe
from quantlab.models.mlp import MLP
from quantlab.models.resnet import ResNet
from quantlab.models.transformers.gpt import GPT
from quantlab.packs import PackedRun
from quantlab.packs.network import Stacking
from quantlab.probing.pack_sizes import PackTimes, seconds_a_step
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales import FanIn
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT

SIZES = {False: (1, 3, 9, 16, 27), True: (1, 3, 9, 27)}
"""Sizes of packs, for small networks (False) and for ResNets (True)."""
METHODS = [
    Quantization(rule=rule, quantizer=quantizer(levels), sharpness=Linear(rho0))
    for rule, quantizer, rho0 in (
        (PROX_CONNECT, Nearest, 0.0),
        (PROX_QUANT, PiecewiseLinear, 1e-4),
        (REVERSE_PROX_CONNECT, PiecewiseLinear, 1e-4),
        (PROX_CONNECT, PiecewiseLinear, 0.01),
        (PROX_CONNECT, PiecewiseLinear, 0.03),
    )
    for levels in (BINARY, TERNARY, QUATERNARY)
]


def networks(device: str) -> dict[str, Recipe]:
    """Return recipes without quantization, by name."""
    known = benchmark_recipes()
    resnet20 = known["ResNet20, batch 128"]
    if device == "cuda":
        resnet56 = replace(resnet20, model=ResNet(depth=56))
        return {"ResNet20, batch 128": resnet20, "ResNet56, batch 128": resnet56}
    convnet = known["digits convnet, batch 64"]
    return {
        "GPT-1x16, 16 windows of 16 bytes": gpt_recipe(1, 2, 16, 16, 16),
        "GPT-2x32, 16 windows of 32 bytes": gpt_recipe(2, 2, 32, 32, 16),
        "GPT-2x64, 32 windows of 64 bytes": gpt_recipe(2, 2, 64, 64, 32),
        "digits MLP, batch 64": replace(convnet, model=MLP(image_size=8)),
        "digits convnet, batch 64": convnet,
        "ResNet20, batch 128": resnet20,
    }


def members(recipe: Recipe, count: int) -> list[Recipe]:
    """Return recipes with the methods in turn, evenly distributed, each with its own seed."""
    methods = METHODS
    if isinstance(recipe.model, GPT):
        # The head has the weights of the embedding. Without a scale, attention saturates, and its
        # gradients are subnormal numbers, with which a lone step takes 1.5 times as long.
        methods = [replace(method, exclude=("head",), scale=FanIn()) for method in METHODS]
    return [
        replace(recipe, quantization=methods[len(methods) * place // count % 15], seed=place)
        for place in range(count)
    ]


class _Traffic(TorchDispatchMode):
    """Counts the bytes of all operations' inputs and outputs, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for value in (*args, *(result if isinstance(result, tuple) else (result,))):
                if isinstance(value, Tensor):
                    self.bytes += value.numel() * value.element_size()
        return result


def _seconds(statement: str, **tensors: Tensor) -> float:
    """Return the seconds of one execution on one thread; it waits for a GPU."""
    return benchmark.Timer(statement, globals=tensors).blocked_autorange(min_run_time=1).median


def floors(recipe: Recipe, device: str) -> dict[str, float]:
    """Return lower bounds for the seconds of a lone step, by arithmetic and by traffic."""
    run = PackedRun(members(recipe, 1), device=device)
    training = run.train(pause_steps=1)
    next(training)
    flops = FlopCounterMode(display=False)
    with flops:
        next(training)
    with _Traffic() as traffic:
        next(training)
    one = torch.randn(2048, 2048, device=device)
    rate = 2 * 2048**3 / _seconds("one @ one", one=one)
    large = torch.randn(2**26, device=device)
    other = torch.empty_like(large)
    bandwidth = 2 * 4 * 2**26 / _seconds("other.copy_(large)", other=other, large=large)
    return {
        "gflop": flops.get_total_flops() / 1e9,
        "gflop_per_second": rate / 1e9,
        "arithmetic_ms": 1e3 * flops.get_total_flops() / rate,
        "megabytes": traffic.bytes / 1e6,
        "gigabytes_per_second": bandwidth / 1e9,
        "traffic_ms": 1e3 * traffic.bytes / bandwidth,
    }


def measure(recipe: Recipe, device: str) -> dict[str, dict[int, float]]:
    """Return stacking -> size -> seconds a trial and step; the sizes alternate."""
    ways = [Stacking.VMAP] if isinstance(recipe.model, GPT) else list(Stacking)
    found: dict[str, dict[int, list[float]]] = {stacking.value: {} for stacking in ways}
    is_large = isinstance(recipe.model, ResNet)
    for _ in range(1 if is_large else 5):
        for size in SIZES[is_large]:
            for stacking in ways if size > 1 else (None,):
                run = PackedRun(members(recipe, size), device=device, stacking=stacking)
                seconds = seconds_a_step(run, 1.0) / size
                for name in [stacking.value] if stacking else found:
                    found[name].setdefault(size, []).append(seconds)
    return {
        name: {size: statistics.median(times) for size, times in of.items()}
        for name, of in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", default="", help="only those whose name has this part")
    arguments = parser.parse_args()
    device = arguments.device
    prepare()
    figures = {}
    for name, recipe in networks(device).items():
        if arguments.networks not in name:
            continue
        times = measure(recipe, device)
        floor = floors(recipe, device)
        print(
            f"{name}: a lone step at least {floor['arithmetic_ms']:.2f} ms by arithmetic, "
            f"{floor['traffic_ms']:.2f} ms by memory traffic"
        )
        for stacking, of_stacking in times.items():
            print(
                f"  {stacking:<8}"
                + "".join(
                    f"  {size}: {1e3 * seconds:8.3f} ms ({of_stacking[1] / seconds:.2f} x)"
                    for size, seconds in of_stacking.items()
                )
            )
        figures[name] = {
            "floors": floor,
            "ms_a_trial_step": {
                stacking: {str(size): 1e3 * seconds for size, seconds in of.items()}
                for stacking, of in times.items()
            },
            "auto": PackTimes(next(iter(times.values()))).best,
        }
    parts = ["packs", *([] if device == "cpu" else [device]), arguments.networks.lower()]
    write("_".join(filter(None, parts)), {"networks": figures})


if __name__ == "__main__":
    main()
