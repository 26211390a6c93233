"""Reports of sweeps, and of tables from elsewhere."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.reading import read_trials
from analysis.report.sweep import Report, states, write_report
from analysis.schema import Measurements, SchemaError
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import Split, select
from quantlab import ConfigurationError
from sweeps import streams
from sweeps.reporting.frames import histograms_frame, history_frame, trials_frame
from sweeps.reporting.importance import importance_frame
from sweeps.reporting.maps import maps_frame
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.provenance import analysed_with

REPORTED = ("COMPLETE", "DIVERGED", "FAILED")
"""States of trials that a report has something to say of."""


@dataclass(frozen=True)
class ReportOptions:
    """What the caller may choose."""

    formats: Collection[str]
    select_on: Split
    paper: str | None
    margin: float
    """As a fraction."""


def measurements_of(sweep: SweepSpec, storage: Storage, select_on: Split) -> Measurements:
    """Everything that a sweep's trials have left behind.

    Raises:
        ConfigurationError: none of them has ended, or they cannot be told apart in tables.
    """
    trials = trials_frame(sweep, storage)
    if not trials["state"].isin(REPORTED).any():
        raise ConfigurationError(
            f"sweep {sweep.name}: no trial has ended in --storage {storage.root} "
            f"({states(trials)}); run it first, with `sweeps run`"
        )
    try:
        trials = Measurements(trials).trials
        chosen = list(select(configurations(trials), select_on)["configuration_id"])
    except SchemaError as error:
        raise ConfigurationError(f"sweep {sweep.name}: {error}") from error
    with streams.each_line_once():
        maps = maps_frame(sweep, storage, chosen)
    return Measurements(
        trials,
        history=history_frame(sweep, storage),
        histograms=histograms_frame(sweep, storage, chosen),
        maps=maps,
        importance=importance_frame(trials),
    )


def measurements_of_table(path: Path) -> Measurements:
    """A table of trials from a file.

    Raises:
        ConfigurationError: it cannot be read, or a column is not as `analysis.columns.TRIALS` says.
    """
    try:
        measurements = Measurements(read_trials(path))
    except SchemaError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    if not measurements.trials["state"].isin(REPORTED).any():
        raise ConfigurationError(
            f"{path}: no trial has ended ({states(measurements.trials)}); a report needs one that "
            f"is {', '.join(REPORTED[:-1])} or {REPORTED[-1]}"
        )
    return Measurements(measurements.trials, importance=importance_frame(measurements.trials))


def report(
    measurements: Measurements,
    out: Path,
    title: str,
    facts: Mapping[str, str],
    options: ReportOptions,
) -> Report:
    """Write it.

    Raises:
        ConfigurationError: the folder cannot be written to.
    """
    try:
        return write_report(
            measurements,
            out,
            title=title,
            facts={**facts, **analysed_with()},
            formats=options.formats,
            select_on=options.select_on,
            paper=options.paper,
            margin=options.margin,
        )
    except OSError as error:
        raise ConfigurationError(f"--out {out}: cannot be written to ({error.strerror})") from error
