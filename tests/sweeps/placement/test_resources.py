"""How many trials the CPUs and GPUs of machines have room for."""

from pathlib import Path

from sweeps.placement.resources import cpu_limits, places_of_nodes, usable_cpus


def test_places_are_counted_by_what_a_trial_needs() -> None:
    nodes = [{"CPU": 64.0, "GPU": 2.0}, {"CPU": 3.0}, {"memory": 1e9}]
    assert places_of_nodes(nodes, cpus=1, gpus=0) == [64, 3, 0]
    assert places_of_nodes(nodes, cpus=2, gpus=0.5) == [4, 0, 0]
    assert places_of_nodes([], cpus=1, gpus=0) == []


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
