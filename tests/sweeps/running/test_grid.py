"""What a grid settles before its first trial."""

from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError
from sweeps.placement.resources import Resources
from sweeps.running import grid
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
