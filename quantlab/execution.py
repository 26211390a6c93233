"""Execution options: how a machine computes a trial. They are not part of a trial's identity."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_bool, require_count

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SWITCHES = ("channels_last", "bf16", "compile", "graph", "triton", "deterministic", "keep_memory")
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_NUMBERS = {"workers": 0, "threads": 1, "replicas": 1}
"""Names of the numeric options, each with its smallest value."""
_SHOWN_IF_CHANGED = ("replicas",)
"""Numeric options that the text of older results does not have."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Options that change how fast a trial runs, and its numbers at most by rounding.

    They are part neither of the recipe nor of its fingerprint. A trial's result records them.
    A trial that is resumed with other options is bit-identical to an uninterrupted trial only if
    `rounds_like` is true. `docs/training_core.md` lists the speed-up of each option.
    """

    channels_last: bool = True
    """Store activations in the channels-last memory format. Sums are taken in another order."""
    bf16: bool = False
    """Run the forward pass under bfloat16 autocast, with weights and optimizer in float32. Products
    are rounded to 8 bits, so accuracies change as well."""
    compile: bool = False
    """Compile the network with `torch.compile`, which takes seconds to minutes at the start and
    needs a C++ compiler on the CPU. Operations are fused and reordered."""
    graph: bool = True
    """On CUDA, record the steps of a pack, also of a pack of one trial, as a CUDA graph. The option
    has no effect if a step needs the CPU."""
    triton: bool = False
    """On CUDA, compute some 3x3 convolutions of packs with the kernels of `quantlab.kernels`. Their
    factors are bfloat16 or TF32, and sums are taken in another order."""
    deterministic: bool = True
    """On CUDA, use deterministic algorithms only. Without them no resumed trial is
    bit-identical."""
    keep_memory: bool = True
    """On the CPU, keep freed memory in the process. By default glibc returns large blocks to the
    system and requests them again at every step. The setting holds for the whole process until it
    ends. It does not change numbers."""
    workers: int = 0
    """Number of processes that read the examples of datasets that are not in memory; 0 for none."""
    threads: int = 1
    """Number of CPU threads of a trial. Two trials with one thread each are faster than one trial
    with two. Sums are taken in another order with another number. With 1, a trial that is trained
    without `sweeps` has the number that the process has; records say which."""
    replicas: int = 1
    """Number of processes that train a trial together, each on a share of every batch and on its
    own GPU or CPUs; see `quantlab.distributed.data_parallel`. `workers` and `threads` are those of
    each. Sums are taken in another order with another number."""

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            require_bool(self, name)
        for name, least in _NUMBERS.items():
            require_count(self, name, least)

    def prepare(self, device: "torch.device") -> None:
        """Set the modes that torch, cuBLAS and glibc have for the whole process only.

        On CUDA these are deterministic algorithms and the environment variable
        ``CUBLAS_WORKSPACE_CONFIG``, on the CPU the allocator's thresholds (see `keep_memory`) and
        the number of threads, unless `threads` is 1.
        Training and evaluation call this method when they begin; constructors do not.

        Args:
            device: the device that the process computes on.
        """
        import torch

        if device.type == "cuda":
            os.environ.setdefault(_WORKSPACE, ":4096:8")  # cuBLAS is deterministic with two values
            torch.use_deterministic_algorithms(self.deterministic)
            # No code here reads memory before it writes to it, so filling it is not needed.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            return
        if device.type == "cpu" and self.keep_memory:
            keep_freed_memory()
        if self.threads > 1:
            torch.set_num_threads(self.threads)

    @contextmanager
    def prepared(self, device: "torch.device") -> Iterator[None]:
        """Set the modes of `prepare` for a `with` block, and restore the caller's afterwards.

        The allocator's thresholds, which cannot be restored, are left alone.

        Args:
            device: the device that the process computes on.
        """
        import torch

        if device.type != "cuda":
            yield
            return
        workspace = os.environ.get(_WORKSPACE)
        was_deterministic = torch.are_deterministic_algorithms_enabled()
        only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
        settings: Any = torch.utils.deterministic
        filled = settings.fill_uninitialized_memory
        try:
            self.prepare(device)
            yield
        finally:
            if workspace is None:
                os.environ.pop(_WORKSPACE, None)
            torch.use_deterministic_algorithms(was_deterministic, warn_only=only_warned)
            settings.fill_uninitialized_memory = filled

    def used(self, device: "torch.device") -> "Execution":
        """Return the options with which the process computes on a device.

        Args:
            device: the device that the process computes on.
        """
        import torch

        if device.type != "cpu" or self.threads > 1:
            return self
        return replace(self, threads=torch.get_num_threads())

    def rounds_like(self, other: "Execution") -> bool:
        """Whether a trial can switch between the two options without a difference in any bit."""
        return replace(other, keep_memory=self.keep_memory, workers=self.workers) == self

    def autocast(self, device: "torch.device") -> "torch.autocast":
        """Return the autocast context of a forward pass on a device."""
        import torch

        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def layout(self, inputs: "Tensor") -> "Tensor":
        """Return a batch in the memory format of the forward pass.

        Args:
            inputs: (batch, channels, height, width). Batches of another rank, such as signals, are
                returned unchanged.
        """
        import torch

        if not self.channels_last or inputs.dim() != 4:
            return inputs
        return inputs.contiguous(memory_format=torch.channels_last)

    def __str__(self) -> str:
        """Return the options in the form that `parse_execution` reads."""
        words = [name if getattr(self, name) else f"no-{name}" for name in _SWITCHES]
        for name in _NUMBERS:
            value = getattr(self, name)
            if name not in _SHOWN_IF_CHANGED or value != getattr(DEFAULT_EXECUTION, name):
                words.append(f"{name}={value}")
        return ",".join(words)


DEFAULT_EXECUTION = Execution()
"""The fastest options that work on every machine."""


def parse_execution(text: str) -> Execution:
    """Parse options from text.

    Args:
        text: comma-separated options. A name switches an option on, ``no-`` and a name switches it
            off, and ``workers=N``, ``threads=N`` and ``replicas=N`` set a number. Options that are
            not named keep their defaults: ``"bf16,no-channels_last,threads=4"`` changes three,
            ``""`` none.

    Raises:
        ConfigurationError: if a name is unknown or a number is not valid.
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
                f"execution option {word!r}: must be one of {', '.join(_SWITCHES)}, one of these "
                "names with the prefix no-, or workers=N, threads=N or replicas=N with N below "
                "10000"
            )
    return Execution(**changes)  # type: ignore[arg-type]


@cache
def keep_freed_memory() -> None:
    """Let glibc's allocator keep freed memory in the process. Without glibc, do nothing.

    The setting holds for the whole process until it ends, so only the first call has an effect.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL("libc.so.6")
    trim_threshold, mmap_max = -1, -4  # as <malloc.h> numbers the parameters of mallopt
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
