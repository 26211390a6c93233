"""Source: a sweep or a table that is joined with others into one report."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.metric import ACCURACY, Metric
from analysis.reading import read_trials
from analysis.schema import SchemaError
from quantlab import ConfigurationError
from sweeps.reporting.frames import trials_frame
from sweeps.reporting.metric import further_of, metric_of
from sweeps.selection.part_of_sweep import part_of
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage


@dataclass(frozen=True)
class TableSource:
    """A table of trials in a file."""

    path: Path
    tag: str = ""
    """The user's name for it; may be empty."""

    @property
    def name(self) -> str:
        """What messages and the head of the report call it."""
        return str(self.path)

    def trials(self, metric: Metric) -> pd.DataFrame:
        """Read the table.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        try:
            return read_trials(self.path, metric)
        except SchemaError as error:
            raise ConfigurationError(f"{self.path}: {error}") from error
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: the file cannot be read ({error.strerror})"
            ) from error


@dataclass(frozen=True)
class SweepSource:
    """A sweep, and the storage that has its trials."""

    sweep: SweepSpec
    storage: Storage
    where: str = ""
    """The folder of the storage as the user gave it; empty for that of ``--storage``."""
    tag: str = ""
    """The user's name for it; may be empty."""

    @property
    def name(self) -> str:
        """What messages and the head of the report call it."""
        return f"{self.sweep.name} in {self.where}" if self.where else self.sweep.name

    def trials(self, metric: Metric) -> pd.DataFrame:
        """Return the table of the sweep's trials, finished or not."""
        return trials_frame(self.sweep, self.storage)

    def part(self, fingerprints: Collection[str]) -> SweepSpec:
        """Return those trials of the sweep that have one of some fingerprints, as a sweep."""
        cells = [cell for cell in self.sweep.cells if cell.fingerprint in fingerprints]
        return part_of(self.sweep, cells, self.sweep.name)


Source = TableSource | SweepSource


def metrics_of(
    sources: Collection[Source], given: Metric | None
) -> tuple[Metric, tuple[Metric, ...]]:
    """Return the metric that the trials of all sources are compared by, and further ones.

    Args:
        sources: at least one.
        given: the metric of the tables if there are no sweeps; None for accuracy.

    Raises:
        ConfigurationError: the sweeps have different main metrics.
    """
    sweeps = [source for source in sources if isinstance(source, SweepSource)]
    if not sweeps:
        return given or ACCURACY, ()
    found = {source.name: metric_of(source.sweep.name, source.sweep.cells) for source in sweeps}
    first = sweeps[0].name
    for name, metric in found.items():
        if metric != found[first]:
            raise ConfigurationError(
                f"the main metric of {name} is {metric.name}, and that of {first} is "
                f"{found[first].name}: must be one metric, which a report compares; report on "
                "them apart"
            )
    further = {
        metric.name: metric for source in sweeps for metric in further_of(source.sweep.cells)
    }
    return found[first], tuple(further.values())
