"""What a grid settles before its first trial."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError
from sweeps.placement.resources import Resources
from sweeps.running import grid
from sweeps.spec import Cell
from tests.sweeps.placement.test_packing import SWEEP


def test_a_cluster_without_gpus_is_no_place_to_measure_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may add machines with GPUs later, and would train on their CPUs."""
    monkeypatch.setattr(grid, "alive_nodes", lambda: [{"memory": 1.0}])
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # as in a submitted job
    resources, progress = Resources(gpus_per_trial=None, pack=1), Any
    with pytest.raises(ConfigurationError, match=r"--gpus-per-trial auto: .*; give a number"):
        grid._settled(list(SWEEP.cells), tmp_path, resources, progress)


def test_workers_are_kept_for_further_trials_unless_ray_would_start_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tune ends a worker for which no trial is pending, and within a limit none is."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(grid, "alive_nodes", lambda: [{"CPU": 2.0}])
    assert grid._limit(Resources(concurrency=2)) is None  # this Ray was started with two CPUs
    assert grid._limit(Resources()) is None
    assert grid._limit(Resources(concurrency=2, cpus_per_trial=0.5)) == 2
    assert grid._limit(Resources(concurrency=2, address="auto")) == 2  # machines may be added


def named(*cpus: float) -> list[Cell]:
    """Trials whose blocks name their CPUs, on CPUs."""
    return [replace(cell, resources={"CPU": n}) for cell, n in zip(SWEEP.cells, cpus, strict=False)]


def test_no_more_trials_run_at_once_than_are_allowed_if_blocks_name_fewer_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(grid, "alive_nodes", lambda: [{"CPU": 2.0}])
    two = Resources(concurrency=2)
    assert grid._limit(two, named(0.5)) == 2
    assert grid._limit(two, [*named(2), *SWEEP.cells[1:]]) is None
    monkeypatch.setattr(grid, "alive_nodes", lambda: [{"CPU": 8.0}])
    assert grid._limit(two, named(4, 4)) is None  # this Ray was started for two of them
    assert grid._limit(two, [*named(4), *SWEEP.cells[1:]]) == 2
