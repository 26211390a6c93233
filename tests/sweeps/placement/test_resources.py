"""How many trials the CPUs and GPUs of machines have room for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError
from quantlab.execution import Execution
from sweeps.placement.needs import Needs, named_cpus
from sweeps.placement.resources import (
    Resources,
    cpu_limits,
    mig_instances,
    places_of_nodes,
    usable_cpus,
)
from sweeps.placement.sharing_choice import most_processes
from sweeps.placement.trial_memory import TrialMemory
from sweeps.planning.costs.machine import this_machine
from tests.sweeps.placement.test_packing import SWEEP


def test_places_are_counted_by_what_a_trial_needs() -> None:
    nodes = [{"CPU": 64.0, "GPU": 2.0}, {"CPU": 3.0}, {"memory": 1e9}]
    assert places_of_nodes(nodes, cpus=1, gpus=0) == [64, 3, 0]
    assert places_of_nodes(nodes, cpus=2, gpus=0.5) == [4, 0, 0]
    assert places_of_nodes([], cpus=1, gpus=0) == []


@pytest.mark.parametrize(
    ("gpus", "share", "expected"),
    [(4.0, 0.4, 8), (2.0, 1 / 3, 6), (2.0, 0.07, 28), (1.5, 0.5, 3), (1.0, 0.29, 3), (4.0, 1.0, 4)],
)
def test_a_part_of_a_gpu_is_of_one_gpu(gpus: float, share: float, expected: int) -> None:
    """As Ray places it, which leaves a rest of each GPU."""
    nodes = [{"CPU": 99.0, "GPU": gpus}]
    assert places_of_nodes(nodes, cpus=1, gpus=share) == [expected]


@pytest.mark.parametrize(("cpus", "expected"), [(0.07, 100), (0.1, 70), (0.7, 10), (7.1, 0)])
def test_errors_of_rounding_cost_no_place(cpus: float, expected: int) -> None:
    nodes = [{"CPU": 7.0, "GPU": 1.0}]
    assert places_of_nodes(nodes, cpus=cpus, gpus=0) == [expected]
    assert most_processes(nodes, cpus=cpus, concurrency=None) == max(1, expected)
    limited = Resources(concurrency=100, cpus_per_trial=0.07)
    assert limited.cpus_of_ray(64) == 7


def test_slots_are_of_the_cpus_that_a_job_may_use(tmp_path: Path) -> None:
    assert usable_cpus() >= 1
    (tmp_path / "groups").write_text("0::/job/step\n")
    for folder, text in (("", None), ("job", "150000 100000"), ("job/step", "max 100000")):
        (tmp_path / "sys" / folder).mkdir(exist_ok=True)
        if text is not None:
            (tmp_path / "sys" / folder / "cpu.max").write_text(text)
    assert list(cpu_limits(tmp_path / "groups", tmp_path / "sys")) == [1.5]
    (tmp_path / "groups").write_text("4:memory:/a\n3:cpu,cpuacct:/job\n")
    (tmp_path / "sys" / "cpu" / "job").mkdir(parents=True)
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_quota_us").write_text("300000")
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_period_us").write_text("100000")
    assert list(cpu_limits(tmp_path / "groups", tmp_path / "sys")) == [3.0]
    assert list(cpu_limits(tmp_path / "none", tmp_path / "sys")) == []


def test_several_gpus_are_those_of_several_processes() -> None:
    resources = Resources(gpus_per_trial=4, cpus_per_trial=8)
    assert resources.execution.replicas == 4
    assert resources.bundles == [{"CPU": 2.0, "GPU": 1.0}] * 4
    assert resources.slots([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 3.0}]) == 2
    assert Resources(gpus_per_trial=0.5).bundles == [{"CPU": 1.0, "GPU": 0.5}]
    together = Resources(execution=Execution(replicas=2, threads=3, workers=1))
    assert together.cpus == 8
    assert together.cpus_option.startswith("--execution threads=3,workers=1,replicas=2, ")
    assert resources.cpus_option == "--cpus-per-trial 8"
    assert together.bundles == [{"CPU": 4.0, "GPU": 0.0}] * 2
    assert together.slots([{"CPU": 8.0}]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus_per_trial": 4, "replicas": 2}, "replicas=2: must be the number of GPUs .* is 4"),
        ({"gpus_per_trial": 0.5, "replicas": 2}, "replicas=2: must be the number .* is 0.5"),
        ({"gpus_per_trial": None, "replicas": 2}, "--gpus-per-trial auto: must be 2 with"),
        ({"gpus_per_trial": 2, "cpus_per_trial": 3}, "--cpus-per-trial 3: must be a multiple of 2"),
        ({"replicas": 2, "pack": None}, "--pack auto: must be 1 if 2 processes"),
    ],
)
def test_numbers_of_processes_that_do_not_fit_are_refused(
    options: dict[str, Any], message: str
) -> None:
    execution = Execution(replicas=options.pop("replicas", 1))
    with pytest.raises(ConfigurationError, match=message):
        Resources(execution=execution, **options)


def test_parts_of_a_gpu_count_as_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5a7b,MIG-61c2,MIG-9d0e")
    assert mig_instances() == 3
    machine = this_machine(Resources(gpus_per_trial=1, cpus_per_trial=0.25))
    assert (machine.device, machine.slots) == ("cuda", 3)
    for names in ("0,1", "GPU-5a7b", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
        assert mig_instances() is None


def test_ray_has_the_cpus_that_blocks_name_for_as_many_trials_as_may_run_at_once() -> None:
    """As far as the machine has them. Without a limit, it has all of them anyway."""

    def cpus(*named: float, usable: int, trials: int = 9, **options: Any) -> int:
        return Resources(**options).for_trials(trials, named).cpus_of_ray(usable)

    assert cpus(4, usable=16, concurrency=2) == 8
    assert cpus(4, 1, usable=16, concurrency=2) == 8
    assert cpus(4, usable=16, concurrency=9, trials=3) == 12
    assert cpus(0.5, usable=16, concurrency=2) == 2
    assert cpus(4, usable=6, concurrency=2) == 6, "one of them runs at once"
    assert cpus(4, usable=3, concurrency=2) == 3, "it is refused, as without a limit"
    assert cpus(2, usable=3, concurrency=8) == 8, "as many as for trials of other blocks"
    assert cpus(usable=16, concurrency=2) == 2
    assert cpus(4, usable=16) == 16


def test_a_trial_whose_block_names_its_cpus_finds_room_with_a_limit() -> None:
    cell = replace(SWEEP.cells[0], resources={"CPU": 4.0})
    resources = Resources(concurrency=2).for_trials(9, named_cpus([cell, *SWEEP.cells[1:]]))
    ray = [{"CPU": float(resources.cpus_of_ray(16))}]
    needs = Needs(resources, TrialMemory(), look=lambda: ray)
    assert needs.require_room([cell], is_fixed=True) == []
    assert needs.places([cell]) == 2
