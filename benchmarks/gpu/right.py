"""Right: the tests marked ``gpu``."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.part import Measurement, Settings, Tell

ROOT = Path(__file__).parents[2]
TESTS = "tests/quantlab/test_gpu.py"


class _Outcomes:
    """Remembers how each test ended, and tells of it."""

    def __init__(self, tell: Tell) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._tell = tell

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        found: dict[str, Any] = {"outcome": report.outcome, "seconds": report.duration}
        if report.skipped and isinstance(report.longrepr, tuple):
            found["reason"] = report.longrepr[2]
        elif report.failed:
            found["reason"] = report.longreprtext.strip().splitlines()[-1]
            found["text"] = report.longreprtext[-3000:]
        self.found[report.nodeid.partition("::")[2]] = found
        self._tell(self.summary())

    def summary(self) -> dict[str, Any]:
        """How many ended how, and each of them."""
        outcomes = [one["outcome"] for one in self.found.values()]
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        return {**counts, "tests": dict(self.found)}


def measurements(settings: Settings) -> Iterator[Measurement]:
    """All of them in one; a rehearsal runs them on the CPU."""
    os.chdir(ROOT)
    os.environ["QUANTLAB_GPU_TESTS_ON"] = settings.device
    yield Measurement("tests", _tests, 300)


def _tests(tell: Tell) -> Mapping[str, Any]:
    outcomes = _Outcomes(tell)
    # No conftest: it starts services that are not there.
    arguments = ["--noconftest", "-q", "-p", "no:cacheprovider", "-m", "gpu", TESTS]
    with redirect_stdout(io.StringIO()):
        pytest.main(arguments, plugins=[outcomes])
    return outcomes.summary()
