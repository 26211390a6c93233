"""Right: the tests marked ``gpu``, each a measurement."""

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


class _Collected:
    """Remembers which tests there are."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = [item.nodeid for item in session.items]


class _Outcome:
    """Remembers how a test ended."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"outcome": "never ran"}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.found = {"outcome": report.outcome, "seconds": report.duration}
            if report.skipped and isinstance(report.longrepr, tuple):
                self.found["reason"] = report.longrepr[2]
            elif report.failed:
                self.found["failed"] = report.longreprtext.strip().splitlines()[-1]
                self.found["text"] = report.longreprtext[-2000:]


def measurements(settings: Settings) -> Iterator[Measurement]:
    """One for each test; a rehearsal runs them on the CPU."""
    os.chdir(ROOT)
    os.environ["QUANTLAB_GPU_TESTS_ON"] = settings.device
    collected = _Collected()
    _pytest([TESTS, "--collect-only"], collected)
    for name in collected.names:
        yield Measurement(name.partition("::")[2], _test(name))


def _test(name: str) -> Any:
    def run(tell: Tell) -> Mapping[str, Any]:
        outcome = _Outcome()
        _pytest([name], outcome)
        return outcome.found

    return run


def _pytest(arguments: list[str], plugin: object) -> None:
    # No conftest: it starts services that are not there.
    quiet = ["--noconftest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    with redirect_stdout(io.StringIO()):
        pytest.main([*quiet, *arguments], plugins=[plugin])
