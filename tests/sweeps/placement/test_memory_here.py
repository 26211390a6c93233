"""How much memory there is for trials, as Ray would count it."""

from pathlib import Path

import psutil
import pytest
from ray._private.utils import estimate_available_memory

from sweeps.placement.memory_here import memory_for_trials


def test_it_is_what_ray_leaves_to_trials() -> None:
    """Seven tenths of what is free, or some more where the object store is smaller."""
    assert memory_for_trials() == pytest.approx(0.7 * estimate_available_memory(), rel=0.1)


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
