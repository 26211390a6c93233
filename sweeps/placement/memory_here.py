"""The memory that trials can reserve on this machine, without asking Ray."""

import math
import os
from contextlib import suppress
from pathlib import Path

import psutil

_FOR_OBJECTS = 0.3
"""Share of the free memory that Ray keeps for its object store."""
_MOST_FOR_OBJECTS, _ALWAYS_FOR_OBJECTS = 200e9, 10e9
"""Bytes that this share does not exceed; and up to which it may exceed the room in /dev/shm."""
_SHARED = Path("/dev/shm")
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
    free = max(0.0, free)
    return free - min(_FOR_OBJECTS * free, _MOST_FOR_OBJECTS, _most_shared())


def _most_shared() -> float:
    """How many bytes Ray puts into shared memory at most; see its `resolve_object_store_memory`."""
    if not _SHARED.is_dir():
        return math.inf
    there = os.statvfs(_SHARED)
    return max(_ALWAYS_FOR_OBJECTS, 0.95 * there.f_bavail * there.f_frsize)
