"""How much memory there is for trials, as Ray would count it."""

import os
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from ray._private.utils import estimate_available_memory, resolve_object_store_memory

from sweeps.placement.memory_here import memory_for_trials


class Memory(NamedTuple):
    total: int
    used: int


class Room(NamedTuple):
    f_bavail: int
    f_frsize: int


def test_it_is_what_ray_leaves_to_trials() -> None:
    free = estimate_available_memory()
    left = free - resolve_object_store_memory(free)
    assert memory_for_trials() == pytest.approx(left, rel=0.1)


def test_the_object_store_has_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine of 1 TB, and in a container of 128 GB with little shared memory."""
    (tmp_path / "memory.stat").write_text("inactive_file 0\nactive_file 0\n")
    (tmp_path / "memory.current").write_text("0\n")
    for gigabytes, shared in ((1000, 500), (128, 0.064)):
        free = gigabytes * 10**9
        (tmp_path / "memory.max").write_text(f"{free}\n")
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: Memory(free, 0))
        monkeypatch.setattr(os, "statvfs", lambda path, shared=shared: Room(int(shared * 1e9), 1))
        monkeypatch.setattr(
            "ray._private.utils.get_shared_memory_bytes", lambda shared=shared: int(shared * 1e9)
        )
        left = free - resolve_object_store_memory(free)
        assert memory_for_trials(tmp_path) == pytest.approx(left, rel=1e-6)


@pytest.mark.parametrize(
    ("limit", "usage", "prefix"),
    [
        ("memory.max", "memory.current", ""),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_"),
    ],
)
def test_a_control_group_limits_it(limit: str, usage: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / usage).write_text("50000000\n")
    statistics = (tmp_path / limit).with_name("memory.stat")
    statistics.write_text(f"{prefix}inactive_file 10000000\n{prefix}active_file 20000000\n")
    (tmp_path / limit).write_text("120000000\n")
    assert memory_for_trials(tmp_path) == pytest.approx(0.7 * 100_000_000)
    (tmp_path / limit).write_text("max\n")
    whole = psutil.virtual_memory().total
    assert memory_for_trials(tmp_path) == pytest.approx(0.7 * (whole - 20_000_000))
