"""The memory that trials can reserve on this machine, without asking Ray."""

from contextlib import suppress
from pathlib import Path

import psutil

_FOR_TRIALS = 0.7
"""Ray keeps the rest of the free memory for its object store."""
_GROUPS = (
    ("memory.max", "memory.current", ""),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_"),
)
"""Of a control group of version 2 and 1: the files of its limit and of what it uses, and how the
names of the latter's parts begin."""


def memory_for_trials(groups: Path = Path("/sys/fs/cgroup")) -> float:
    """Return about how many bytes Ray would let trials reserve here if it started now.

    Args:
        groups: the folder in which the control group of this process is mounted.
    """
    memory = psutil.virtual_memory()
    free = float(memory.total - memory.used)
    for limit, usage, prefix in _GROUPS:
        with suppress(OSError, ValueError, KeyError):  # there are no such files
            text = (groups / limit).read_text(encoding="utf-8").strip()
            most = memory.total if text == "max" else min(memory.total, int(text))
            used = int((groups / usage).read_text(encoding="utf-8"))
            statistics = (groups / limit).with_name("memory.stat").read_text(encoding="utf-8")
            pages = dict(line.split() for line in statistics.splitlines())
            # The system can drop pages of files.
            dropped = sum(int(pages[f"{prefix}{kind}_file"]) for kind in ("inactive", "active"))
            free = float(most - used + dropped)
    return _FOR_TRIALS * max(0.0, free)
