"""The machine: what it is. A process of its own asks, since its GPU is then that process's."""

from collections.abc import Iterator

import measuring

from benchmarks.gpu.part import Measurement, Settings


def measurements(settings: Settings) -> Iterator[Measurement]:
    """One, which `Report.describe` takes."""
    yield Measurement("machine", lambda tell: measuring.machine())
