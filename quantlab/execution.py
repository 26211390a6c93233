"""Execution: how a machine computes a trial, which is no part of what the trial is."""

import ctypes
import os
import platform
import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError

_SWITCHES = ("channels_last", "bf16", "compile", "graph", "triton", "deterministic", "keep_memory")
_NUMBERS = {"workers": 0, "threads": 1}
"""Name -> least value."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Options that change how fast a trial runs, and its numbers at most by rounding.

    They are not in the recipe, nor in its fingerprint; what a trial ran with stands in its result.
    A trial that is resumed with others than it began with is bit-identical to one that was not
    interrupted only if `rounds_like` says so. `docs/training_core.md` has the gain of each.
    """

    channels_last: bool = True
    """Activations in the channels-last memory format: sums are reordered."""
    bf16: bool = False
    """Forward pass under bfloat16 autocast, weights and optimizer in float32: products are rounded
    to 8 bits, so accuracies move too."""
    compile: bool = False
    """The network through `torch.compile` (seconds to minutes at the start; needs a C++ compiler
    on the CPU): operations are fused and reordered."""
    graph: bool = True
    """On CUDA, the steps of a pack, also of one trial, as a graph that the GPU runs by itself;
    without effect where a step needs the CPU."""
    triton: bool = False
    """On CUDA, some 3x3 convolutions of packs by kernels of our own, whose factors are bfloat16 or
    TF32; sums are reordered."""
    deterministic: bool = True
    """On CUDA, deterministic algorithms only, without which no resumed trial is bit-identical."""
    keep_memory: bool = True
    """On the CPU, memory that is freed stays with the process, where glibc would give large blocks
    back and take them anew at every step; for the whole process, and for good. Numbers stay."""
    workers: int = 0
    """Processes that decode images of datasets that do not fit in memory; 0 for none."""
    threads: int = 1
    """CPU threads of a trial. Two trials with one thread each are faster than one with two; with
    another number, sums are split elsewhere."""

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(
                    f"Execution.{name} = {getattr(self, name)!r}: must be True or False"
                )
        for name, least in _NUMBERS.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigurationError(
                    f"Execution.{name} = {value!r}: must be a whole number >= {least}"
                )

    def prepare(self, device: torch.device) -> None:
        """Set up this process, as far as torch has a switch for the whole of it only."""
        if device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs one of two
            torch.use_deterministic_algorithms(self.deterministic)
            # Nothing here reads memory that it has not written: no time for filling it.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        elif device.type == "cpu" and self.keep_memory:
            keep_freed_memory()

    def rounds_like(self, other: "Execution") -> bool:
        """Whether a trial may go over from one to the other without a difference in any bit."""
        return replace(other, keep_memory=self.keep_memory, workers=self.workers) == self

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def layout(self, inputs: Tensor) -> Tensor:
        """A batch (batch, channels, height, width) in the memory format of the forward pass.

        Batches of another rank, such as signals, have no other format.
        """
        if not self.channels_last or inputs.dim() != 4:
            return inputs
        return inputs.contiguous(memory_format=torch.channels_last)

    def __str__(self) -> str:
        """All options, as `parse_execution` reads them: ``"channels_last,no-bf16,..."``."""
        words = [name if getattr(self, name) else f"no-{name}" for name in _SWITCHES]
        return ",".join([*words, *(f"{name}={getattr(self, name)}" for name in _NUMBERS)])


DEFAULT_EXECUTION = Execution()
"""The fastest options that are safe everywhere."""


def parse_execution(text: str) -> Execution:
    """Options from text: names to switch on, ``no-`` names to switch off, ``workers=N``.

    ``"bf16,no-channels_last,threads=4"`` changes these three defaults; ``""`` none.

    Raises:
        ConfigurationError: a name is unknown.
    """
    changes: dict[str, bool | int] = {}
    for word in filter(None, text.replace(" ", "").split(",")):
        name, _, number = word.partition("=")
        switch = word.removeprefix("no-")
        if switch in _SWITCHES:
            changes[switch] = switch == word
        elif name in _NUMBERS and re.fullmatch("[0-9]{1,4}", number):
            changes[name] = int(number)
        else:
            raise ConfigurationError(
                f"execution option {word!r}: must be one of {', '.join(_SWITCHES)}, "
                "one of them after no-, workers=N or threads=N, with N below 10000"
            )
    return Execution(**changes)  # type: ignore[arg-type]


def keep_freed_memory() -> None:
    """Let glibc's allocator keep what the process frees; without effect elsewhere."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL("libc.so.6")
    trim_threshold, mmap_max = -1, -4  # as <malloc.h> numbers the parameters of mallopt
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
