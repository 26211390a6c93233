"""Shared by the benchmarks: alternated repeats, a description of the machine, result files."""

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from quantlab import Recipe
from quantlab.datasets import Images, InMemoryDataset
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.text.windows import ByteDataset
from quantlab.execution import keep_freed_memory
from quantlab.models.convnet import ConvNet
from quantlab.models.resnet import ResNet
from quantlab.models.transformers.gpt import GPT
from quantlab.recipe import OptimizerSpec, Quantization
from quantlab.schedules import Constant
from quantlab.tasks.language_modelling import LanguageModelling

RESULTS = Path(__file__).parent / "results"

SGD = OptimizerSpec(
    algorithm=torch.optim.SGD,
    learning_rate=Constant(0.01),
    options={"momentum": 0.9, "weight_decay": 1e-4},
)


def prepare() -> None:
    """Use one thread and keep freed memory, as in trials.

    Otherwise a ResNet20 step has tens of thousands of page faults. Their number varies at random,
    which changes the time of a step by up to 10 %.
    """
    torch.set_num_threads(1)
    keep_freed_memory()


@dataclass(frozen=True, kw_only=True)
class RandomImages(InMemoryDataset):
    """Random images, by default of CIFAR-10's shape; a step's time does not depend on them."""

    validation_images: int = 0
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    augmentation: CropFlip | None = field(default_factory=CropFlip)
    count: int = 12_800
    size: int = 32

    @property
    def num_channels(self) -> int:
        return len(self.mean)

    def check(self, data_dir: Path) -> None:
        pass

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(
            0,
            256,
            (self.count, self.num_channels, self.size, self.size),
            dtype=torch.uint8,
            generator=generator,
        )
        labels = torch.randint(0, 10, (self.count,), generator=generator)
        return Images(pixels, labels), Images(pixels[:1], labels[:1]), 10


DIGITS = RandomImages(mean=(0.5,), std=(0.25,), size=8, count=64_000, augmentation=None)
"""Images of the digits' shape, enough for epochs that are long enough to be timed."""


def benchmark_recipes(quantization: Quantization | None = None) -> dict[str, Recipe]:
    """Return the recipes of the two networks that are timed, by name."""
    return {
        "digits convnet, batch 64": Recipe(
            model=ConvNet(width=16),
            dataset=DIGITS,
            optimizer=SGD,
            quantization=quantization,
            epochs=1000,
            batch_size=64,
        ),
        "ResNet20, batch 128": Recipe(
            model=ResNet(depth=20),
            dataset=RandomImages(),
            optimizer=SGD,
            quantization=quantization,
            epochs=1000,
            batch_size=128,
        ),
    }


@dataclass(frozen=True, kw_only=True)
class RandomBytes(ByteDataset):
    """A text of random bytes; a step's time does not depend on them."""

    validation_images: int = 1
    test_images: int | None = 1
    count: int = 2**20

    def check(self, data_dir: Path) -> None:
        pass

    def text(self, data_dir: Path) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (self.count,), dtype=torch.uint8, generator=generator)


def gpt_recipe(layers: int, heads: int, width: int, length: int, batch_size: int) -> Recipe:
    """Return the recipe of a byte-level GPT, without quantization."""
    return Recipe(
        model=GPT(layers=layers, heads=heads, width=width, context=length),
        dataset=RandomBytes(length=length),
        optimizer=OptimizerSpec(
            algorithm=torch.optim.AdamW,
            learning_rate=Constant(1e-3),
            options={"betas": (0.9, 0.95), "weight_decay": 0.1},
        ),
        epochs=1000,
        batch_size=batch_size,
        task=LanguageModelling(),
    )


def alternated(
    build: Callable[[], Mapping[str, Callable[[], object]]],
    *,
    repeats: int,
    calls: int,
    rounds: int = 1,
    warm_up: int = 2,
) -> dict[str, float]:
    """Return the median seconds a call of each variant; the variants alternate.

    Alternation spreads slow phases of the machine over all variants, and the order rotates. The
    addresses of a network's tensors make its steps up to 5 % slower or faster, so each round builds
    the variants again.

    Args:
        build: returns the function to time, by name of the variant.
        repeats: turns of each variant in a round.
        calls: calls a turn; their mean is one measurement.
        rounds: how often the variants are built.
        warm_up: first turns of a round, which are not counted.
    """
    times: dict[str, list[float]] = {}
    for round_number in range(rounds):
        variants = build()
        names = list(variants)
        for turn in range(-warm_up, repeats):
            first = (turn + round_number) % len(names)
            for name in names[first:] + names[:first]:
                gc.collect()
                gc.disable()
                begin = time.perf_counter()
                for _ in range(calls):
                    variants[name]()
                seconds = (time.perf_counter() - begin) / calls
                gc.enable()
                if turn >= 0:
                    times.setdefault(name, []).append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def write(name: str, figures: Mapping[str, Any]) -> None:
    """Write figures and a description of the machine to ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    content = {"machine": machine(), **figures}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"-> {file}\n")


def machine() -> dict[str, Any]:
    """Describe the processor, the threads and the versions of packages."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
