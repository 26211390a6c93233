"""Write the report of a sweep, or of a table of trials."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from analysis.findings import Findings
from analysis.metric import ACCURACY, Metric
from analysis.published import NotAccuracyError
from analysis.reading import read_trials
from analysis.report.failures import FailedTrial
from analysis.report.latex_columns import LatexOptions, UnknownColumnError
from analysis.report.sweep import Report, states, write_report
from analysis.report.trials import TrialLinks
from analysis.schema import Measurements, SchemaError
from analysis.statistics.selection import Split
from quantlab import ConfigurationError
from sweeps.printing import streams
from sweeps.reporting.frames import axes_of_table, histograms_frame, history_frame, trials_frame
from sweeps.reporting.importance import importance_frame
from sweeps.reporting.maps import maps_frame
from sweeps.reporting.metric import further_of, metric_of
from sweeps.selection.choice import chosen_places
from sweeps.selection.exclusions import Exclusions
from sweeps.selection.part_of_sweep import part_of, report_name
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialFolder
from sweeps.storage.provenance import analysed_with
from sweeps.storage.trial_states import failures_of

REPORTED = ("COMPLETE", "DIVERGED", "FAILED")
"""A report needs at least one trial in one of these states."""

_UI = "http://127.0.0.1:5000"
"""Address of `sweeps ui` with its default port, in which the runs of a database are shown."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of `sweeps report`."""

    formats: Collection[str]
    """Keys of `analysis.report.files.FORMATS`."""
    select_on: Split
    """The images on which rho0 is selected."""
    paper: str | None
    """The paper to compare with, a key of `analysis.published.PAPERS`."""
    margin: float
    """Loss up to which a method is called stable; see `analysis.metric.Metric.margin`."""
    latex: LatexOptions = field(default_factory=LatexOptions)
    """Options of the LaTeX files."""


def measurements_of(
    sweep: SweepSpec, storage: Storage, exclusions: Exclusions | None = None
) -> Measurements:
    """Read the trials of a sweep, their histories, and the importance of the sweep's factors.

    Args:
        sweep: the sweep.
        storage: the folder of its trials.
        exclusions: trials to leave out.

    Raises:
        ConfigurationError: no trial has ended, trials have different main metrics, two
            configurations have the same columns, or see `Exclusions.leave_out`.
    """
    metric, further = metric_of(sweep.name, sweep.cells), further_of(sweep.cells)
    trials = trials_frame(sweep, storage)
    if not trials["state"].isin(REPORTED).any():
        raise ConfigurationError(
            f"sweep {sweep.name}: no trial has ended in --storage {storage.root} "
            f"({states(trials)}); train the sweep first, with `sweeps run`"
        )
    try:
        trials = Measurements(trials, metric=metric).trials
    except SchemaError as error:
        raise ConfigurationError(f"sweep {sweep.name}: {error}") from error
    reported = sweep
    if exclusions is not None:
        trials = exclusions.leave_out(trials)
        require_ended(trials, f"sweep {sweep.name}")
        left = set(trials["trial_id"])
        cells = [cell for cell in sweep.cells if cell.fingerprint in left]
        reported = part_of(sweep, cells, report_name(sweep))
    return Measurements(
        trials,
        history=history_frame(reported, storage, metric),
        importance=importance_frame(trials, metric),
        metric=metric,
        further=further,
    )


def details_of(sweep: SweepSpec, storage: Storage, findings: Findings) -> dict[str, pd.DataFrame]:
    """Read the histograms and the maps of the configurations that the analysis has selected.

    Returns:
        Tables of `analysis.schema.Measurements` by name.
    """
    selected = list(findings.selected["configuration_id"])
    with streams.each_line_once():
        maps = maps_frame(sweep, storage, selected)
    return {"histograms": histograms_frame(sweep, storage, selected), "maps": maps}


def links_of(cells: Iterable[Cell], storage: Storage, out: Path) -> dict[str, TrialLinks]:
    """The links of the trials that have a folder.

    Those to folders are relative, so that they lead to the right place after the storage was
    moved or copied with the report in it.

    Args:
        cells: the trials.
        storage: the folder of the trials.
        out: folder of the report.

    Returns:
        Fingerprint -> links.
    """
    links = {}
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        if folder.path.is_dir():
            address = _address(folder.path, out)
            links[cell.fingerprint] = TrialLinks(folder=f"{address}/", run=_run(folder))
    return links


def failed_in(cells: Iterable[Cell], storage: Storage, out: Path) -> list[FailedTrial]:
    """The failed trials with their reasons, and with relative links to what they printed.

    Args:
        cells: the trials.
        storage: the folder of the trials.
        out: folder of the report.
    """
    failed = []
    for reason, of_reason in failures_of(cells, storage).items():
        for cell in of_reason:
            printed = storage.trial(cell.fingerprint).output_of(0)
            log = _address(printed, out) if printed.is_file() else ""
            failed.append(FailedTrial(cell.name, cell.fingerprint, reason, log))
    return failed


def _address(path: Path, out: Path) -> str:
    """The address of a file or folder in a page of the folder `out`."""
    return quote(Path(os.path.relpath(path.resolve(), out.resolve())).as_posix())


def _run(folder: TrialFolder) -> str:
    """The address of a trial's run; empty if it was not delivered."""
    delivered = folder.delivery.read()
    if delivered is None or not delivered.experiment_id:
        return ""
    is_server = delivered.uri.startswith(("http://", "https://"))
    page = delivered.uri.rstrip("/") if is_server else _UI
    return f"{page}/#/experiments/{delivered.experiment_id}/runs/{delivered.run_id}"


def measurements_of_table(
    path: Path,
    metric: Metric = ACCURACY,
    only: Sequence[str] = (),
    exclusions: Exclusions | None = None,
) -> Measurements:
    """Read a table of trials from a file.

    Args:
        path: the file.
        metric: what the trials are compared by.
        only: conditions that the trials fulfil; see `sweeps.selection.conditions`.
        exclusions: further trials to leave out.

    Raises:
        ConfigurationError: the file cannot be read, a column does not agree with
            `analysis.columns.trials_columns`, no trial fulfils all conditions, or none of them has
            ended.
    """
    try:
        measurements = Measurements(read_trials(path, metric), metric=metric)
    except SchemaError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: the file cannot be read ({error.strerror})") from error
    if only:
        places = chosen_places(axes_of_table(measurements.trials), only, f"table {path.name}")
        some = measurements.trials.iloc[places].reset_index(drop=True)
        measurements = replace(measurements, trials=some)
    if exclusions is not None:
        left = exclusions.leave_out(measurements.trials)
        measurements = replace(measurements, trials=left)
    require_ended(measurements.trials, str(path))
    trials = measurements.trials
    return replace(measurements, trials=trials, importance=importance_frame(trials, metric))


def require_ended(trials: pd.DataFrame, whose: str) -> None:
    """Refuse trials of which none has ended.

    Args:
        trials: the table of trials.
        whose: what they belong to, for the message.

    Raises:
        ConfigurationError: see above.
    """
    if not trials["state"].isin(REPORTED).any():
        raise ConfigurationError(
            f"{whose}: no trial has ended ({states(trials)}); a report needs a trial whose state "
            f"is {', '.join(REPORTED[:-1])} or {REPORTED[-1]}"
        )


def report(
    measurements: Measurements,
    out: Path,
    title: str,
    facts: Mapping[str, str],
    options: ReportOptions,
    details: Callable[[Findings], Mapping[str, pd.DataFrame]] | None = None,
    links: Mapping[str, TrialLinks] | None = None,
    failed: Sequence[FailedTrial] = (),
) -> Report:
    """Analyse trials and write a report.

    Args:
        measurements: the trials, and what else there is.
        out: folder of the report.
        title: heading.
        facts: lines of the page's head; the versions of the analysis are added.
        options: of `sweeps report`.
        details: see `analysis.report.sweep.write_report`.
        links: see `analysis.report.sweep.write_report`.
        failed: see `analysis.report.sweep.write_report`.

    Raises:
        ConfigurationError: the folder cannot be written to, or the trials have no accuracies to
            compare with a paper.
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
            details=details,
            links=links,
            failed=failed,
            latex=options.latex,
        )
    except NotAccuracyError as error:
        raise ConfigurationError(f"--compare {options.paper}: {error}; omit the option") from error
    except UnknownColumnError as error:
        raise ConfigurationError(f"--columns: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"--out {out}: the folder cannot be written to ({error.strerror})"
        ) from error
