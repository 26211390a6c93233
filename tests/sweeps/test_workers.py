"""What workers tell their driver, without Ray between them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from quantlab import ConfigurationError
from quantlab.execution import Execution
from sweeps.hooks import SweepStopper, TrialCallback, reason_of
from sweeps.pack_report import PackReport
from sweeps.resources import _quotas, usable_cpus
from sweeps.storage import Storage
from sweeps.worker import Work, Worker


def worker(storage: Storage, mark: str) -> Worker:
    """As Tune makes one."""
    work = Work(
        storage=storage,
        mark=mark,
        data_dir=storage.root,
        scratch=None,
        device="cpu",
        execution=Execution(),
    )
    made = Worker.__new__(Worker)
    made.setup({"trials": {}}, work=work)
    return made


def test_a_worker_without_the_drivers_storage_says_where_it_is(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "shared")
    storage.require_writable()
    mark = storage.mark()
    assert storage.mark() == mark
    assert not PackReport.of_result(worker(storage, mark).step()).unable
    elsewhere = Storage(tmp_path / "not mounted")
    result = worker(elsewhere, mark).step()
    unable = PackReport.of_result(result).unable
    assert f"--storage {elsewhere.root}: machine " in unable
    assert "does not see the driver's folder" in unable
    assert not elsewhere.root.exists()
    stop = SweepStopper()
    watch: Any = TrialCallback(None, stop, storage, None, None)  # type: ignore[arg-type]
    watch.on_trial_result(0, [], SimpleNamespace(config={"trials": {}}), result)
    assert isinstance(stop.error, ConfigurationError)
    assert stop.stop_all()


def test_a_storage_of_the_same_path_on_another_machine_is_another(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    mark = storage.mark()
    (tmp_path / ".mark").write_text("0" * len(mark))
    with pytest.raises(ConfigurationError, match="does not see the driver's folder"):
        storage.require_mark(mark)


def test_reasons_are_what_was_raised_in_one_line() -> None:
    try:
        raise ImportError("libwhatever.so: cannot open\nshared object")
    except ImportError as error:
        task = RayTaskError("__init__", f"Traceback ...\n  File x\nImportError: {error}", error)
    assert reason_of(ActorDiedError(task)) == "shared object"
    assert reason_of(task) == "ImportError: libwhatever.so: cannot open"
    assert reason_of(ActorDiedError()) == "The actor died unexpectedly before finishing this task."
    assert reason_of(None) == "no reason given"


def test_slots_are_of_the_cpus_that_a_job_may_use(tmp_path: Path) -> None:
    assert usable_cpus() >= 1
    (tmp_path / "groups").write_text("0::/job/step\n")
    for folder, text in (("", None), ("job", "150000 100000"), ("job/step", "max 100000")):
        (tmp_path / "sys" / folder).mkdir(exist_ok=True)
        if text is not None:
            (tmp_path / "sys" / folder / "cpu.max").write_text(text)
    assert list(_quotas(tmp_path / "groups", tmp_path / "sys")) == [1.5]
    (tmp_path / "groups").write_text("4:memory:/a\n3:cpu,cpuacct:/job\n")
    (tmp_path / "sys" / "cpu" / "job").mkdir(parents=True)
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_quota_us").write_text("300000")
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_period_us").write_text("100000")
    assert list(_quotas(tmp_path / "groups", tmp_path / "sys")) == [3.0]
    assert list(_quotas(tmp_path / "none", tmp_path / "sys")) == []
