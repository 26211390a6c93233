"""PeakMemory: how much memory a process needs to train a trial or pack."""

import re
from contextlib import suppress
from pathlib import Path

import psutil
import torch

_GIB = 2**30
_OF_THIS_PROCESS = Path("/proc/self")


class PeakMemory:
    """The largest memory of this process, and of the processes that load its data, since a start.

    Pages of files, such as those of libraries, do not count, because the system can drop them.
    Neither does what other processes of the same trial need.
    """

    def __init__(self, device: str) -> None:
        """Start to measure.

        Args:
            device: a torch device.
        """
        self._device = device
        self._of_loaders = 0
        with suppress(OSError):  # otherwise, the peak is that of the whole life of the process
            (_OF_THIS_PROCESS / "clear_refs").write_text("5")
        if self._is_on_gpu and torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # else the memory of earlier trials would count
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def _is_on_gpu(self) -> bool:
        return self._device.startswith("cuda")

    def look(self) -> None:
        """Add up the memory of the processes that load data now; their peaks are not kept."""
        used = 0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                memory = process.memory_info()
                used += memory.rss - memory.shared
        self._of_loaders = max(used, self._of_loaders)

    @property
    def gib(self) -> float | None:
        """Memory of the machine in GiB; None if the system does not tell."""
        own = own_peak_gib()
        return None if own is None else round(own + self._of_loaders / _GIB, 3)

    @property
    def gpu_gib(self) -> float | None:
        """Memory of the GPU that torch reserved, in GiB; None without a GPU."""
        if not self._is_on_gpu:
            return None
        return round(torch.cuda.max_memory_reserved(self._device) / _GIB, 3)


def own_peak_gib() -> float | None:
    """Return the peak of this process since `PeakMemory` started; None if it is not known."""
    with suppress(OSError):
        status = (_OF_THIS_PROCESS / "status").read_text(encoding="utf-8")
        found = dict(re.findall(r"^(VmHWM|RssFile):\s+(\d+) kB$", status, re.MULTILINE))
        if len(found) == 2:
            return (int(found["VmHWM"]) - int(found["RssFile"])) / 2**20
    return None
