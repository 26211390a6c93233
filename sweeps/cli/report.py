"""The command `sweeps report`, for a sweep, a study, a table of trials, or several of them."""

import argparse
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis.metric import ACCURACY
from analysis.published import PAPERS
from analysis.reading import is_table
from analysis.report.files import FORMATS
from analysis.report.latex_columns import LatexOptions
from analysis.report.study import StudyReport
from analysis.report.sweep import Report
from quantlab import ConfigurationError
from quantlab.errors import suggestion
from sweeps.cli.chosen import load_chosen_or_study, refuse_selection, refuse_study_storage
from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.joining.joined_report import report_joined
from sweeps.cli.joining.sources import is_plain
from sweeps.cli.json_output import print_json
from sweeps.cli.naming.name_in_file import addressed, split
from sweeps.cli.options import SELECTION
from sweeps.cli.parsing.deciding import margin_of
from sweeps.cli.summary import print_warnings
from sweeps.coordinates import main_metric
from sweeps.deciding.record import recorded
from sweeps.labels import label_of_number
from sweeps.planning.data_changes import data_warnings
from sweeps.reporting import sweep_report
from sweeps.reporting.computed import description_of, options_of, origin_of, results_of
from sweeps.reporting.metric import metric_named
from sweeps.reporting.report_data import report_data
from sweeps.reporting.study_report import report_study
from sweeps.reporting.terminal import show, show_files
from sweeps.searching.known_studies import study_data
from sweeps.searching.results import cells_of, load, summary_lines
from sweeps.selection.exclusions import Exclusions
from sweeps.selection.names import part_name
from sweeps.selection.part_of_sweep import PartOfSweep, part_of, report_name
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.records import Result
from sweeps.study import StudySpec

_OPTIONS = ("where", "by", "metric", "select", "compare", "margin", "columns", "format", "out")
"""Options of the report, as attributes of the parsed command line."""


def report(options: argparse.Namespace) -> int:
    """Write a report, print its main tables, and log it to MLflow.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: an option is invalid, or no trial has ended.
    """
    formats = list(FORMATS) if options.format == "all" else options.format.split(",")
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ConfigurationError(
            f"--format {options.format}: {unknown[0]!r} is not a format"
            f"{suggestion(unknown[0], FORMATS)}; choose from {', '.join(FORMATS)}"
        )
    if options.compare not in (None, *PAPERS):
        alike = suggestion(options.compare, PAPERS)
        raise ConfigurationError(
            f"--compare {options.compare}: is unknown{alike}; must be one of {', '.join(PAPERS)}"
        )
    chosen = sweep_report.ReportOptions(
        formats=formats,
        select_on="test" if options.select == "test" else "validation",
        paper=options.compare,
        margin=margin_of(options) / 100,
        latex=LatexOptions(columns=_columns(options.columns)),
    )
    options.sweep, options.name_in_file = split(options.sources[0])
    if len(options.sources) > 1 or options.by or not is_plain(options.sweep):
        made_by = _call("report", options, *SELECTION, "storage", *_OPTIONS)
        data = report_joined(options, partial(_named, chosen), made_by)
    else:
        data = _of_one(options, chosen)
    if options.json:
        print_json(data)
    return 0


def _of_one(options: argparse.Namespace, chosen: sweep_report.ReportOptions) -> dict[str, Any]:
    """Report on a sweep, a study or a table, and return the result for `print_json`."""
    spec = None if is_table(options.sweep) else load_chosen_or_study(options)
    if spec is not None and options.metric is not None:
        raise ConfigurationError(
            f"--metric {options.metric}: applies to tables of trials, but {options.sweep} is a "
            f"{'study' if isinstance(spec, StudySpec) else 'sweep'}, which says it itself; omit "
            "the option"
        )
    if isinstance(spec, StudySpec):
        return _of_study(spec, options, chosen)
    if spec is None:
        refuse_study_storage(options)
        refuse_selection(options, "a table of trials", ("seeds", "set"))
        return _of_table(options, chosen)
    known = recorded(spec.name, Storage(options.storage))
    if options.margin is None and known is not None:
        chosen = replace(chosen, margin=known.margin / 100)
    return _of_sweep(spec, options, chosen)


def _columns(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parse the columns of tables, such as ``sensitivity=set,method,range``.

    Raises:
        ConfigurationError: a text has another form, or a table has columns twice.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for text in texts:
        table, _, names = text.partition("=")
        columns = tuple(name.strip() for name in names.split(","))
        if not table.strip() or not all(columns) or table.strip() in chosen:
            raise ConfigurationError(
                f"--columns {text}: must be a table and its columns, such as "
                "sensitivity=set,method,range, once for each table"
            )
        chosen[table.strip()] = columns
    return chosen


def _named(chosen: sweep_report.ReportOptions, name: str) -> sweep_report.ReportOptions:
    """Return the options with the name that labels in LaTeX begin with."""
    return replace(chosen, latex=replace(chosen.latex, name=name))


def _of_table(options: argparse.Namespace, chosen: sweep_report.ReportOptions) -> dict[str, Any]:
    """Report on a table of trials, and return the result for `print_json`."""
    path = Path(options.sweep)
    metric = ACCURACY if options.metric is None else metric_named(options.metric)
    name, exclusions = (
        part_name(path.stem, options.only, where=options.where),
        Exclusions(options.where),
    )
    written = sweep_report.report(
        sweep_report.measurements_of_table(path, metric, options.only, exclusions),
        options.out or Storage(options.storage).root / "reports" / name,
        f"Trials of {path.name}" + (f" with {', '.join(options.only)}" if options.only else ""),
        exclusions.facts | {"made by": _call("report", options, "only", "storage", *_OPTIONS)},
        _named(chosen, name),
    )
    if not options.json:
        exclusions.show()
        show(written)
    return {
        "name": path.stem,
        "kind": "table",
        "notes": exclusions.notes,
        **report_data(written),
        "mlflow": None,
    }


def _of_sweep(
    sweep: SweepSpec, options: argparse.Namespace, chosen: sweep_report.ReportOptions
) -> dict[str, Any]:
    """Report on a sweep, and return the result for `print_json`."""
    storage, exclusions = Storage(options.storage), Exclusions(options.where)
    name = part_name(report_name(sweep), (), where=options.where)
    out = options.out or storage.root / "reports" / name
    measurements = sweep_report.measurements_of(sweep, storage, exclusions)
    left = set(measurements.trials["trial_id"])
    cells = [cell for cell in sweep.cells if cell.fingerprint in left]
    part = part_of(sweep, cells, report_name(sweep))
    written = sweep_report.report(
        measurements,
        out,
        f"Sweep {name}",
        exclusions.facts
        | _facts(sweep, "run", options, results_of(cells, storage))
        | _data_facts(cells, storage),
        _named(chosen, name),
        details=partial(sweep_report.details_of, part, storage),
        links=sweep_report.links_of(cells, storage, out),
        failed=sweep_report.failed_in(cells, storage, out),
    )
    if not options.json:
        exclusions.show()
        show(written)
    run = _log(f"sweep {name}", sweep, sweep.cells, written, options)
    return {
        "name": name,
        "kind": "sweep",
        "notes": exclusions.notes,
        **report_data(written),
        "mlflow": run,
    }


def _of_study(
    spec: StudySpec, options: argparse.Namespace, chosen: sweep_report.ReportOptions
) -> dict[str, Any]:
    """Report on a study, and return the result for `print_json`."""
    if given := changed_options(options, "where", "select", "compare", "margin"):
        raise ConfigurationError(
            f"{given[0]}: applies to sweeps, but {spec.name} is a study; omit the option"
        )
    storage = Storage(options.storage)
    study = load(spec, storage, options.study_storage)
    cells = cells_of(spec, study, storage)
    out = options.out or storage.root / "reports" / spec.name
    written = report_study(
        spec,
        study,
        storage,
        out,
        _facts(spec, "search", options, results_of(cells, storage)) | _data_facts(cells, storage),
        chosen.formats,
        _named(chosen, spec.name).latex,
        sweep_report.failed_in(cells, storage, out),
    )
    if not options.json:
        print("\n".join(summary_lines(spec, study, storage)), end="\n\n")
        show_files(written)
    run = _log(f"study {spec.name}", spec, cells, written, options)
    return {**study_data(spec, study, storage), **report_data(written), "mlflow": run}


def _facts(
    spec: SweepSpec | StudySpec,
    made_by: str,
    options: argparse.Namespace,
    results: Sequence[Result],
) -> dict[str, str]:
    """Return the lines of the report's head."""
    where = (*SELECTION, "storage", "study_storage")
    return {
        "about": spec.description,
        "reproduce": _call(
            made_by, options, *where, more=[*_decided(spec, options), *options_of(results)]
        ),
        "computed": description_of(results),
        **origin_of(results),
        "made by": _call("report", options, *where, *_OPTIONS),
    }


def _decided(spec: SweepSpec | StudySpec, options: argparse.Namespace) -> list[str]:
    """Return the options with which a sweep was run until its questions were decided."""
    known = recorded(spec.name, Storage(options.storage))
    if known is None or not isinstance(spec, PartOfSweep) or spec.added is None:
        return []
    margin, most = label_of_number(known.margin), str(known.most_seeds)
    return ["--until-decided", "--margin", margin, "--most-seeds", most]


def _call(command: str, options: argparse.Namespace, *names: str, more: Sequence[str] = ()) -> str:
    """Format a call of a command on the same sweep, with those options that are not defaults."""
    named = options.sources if command == "report" else [addressed(options)]
    return shlex.join(["sweeps", command, *named, *changed_options(options, *names), *more])


def _data_facts(cells: Iterable[Cell], storage: Storage) -> dict[str, str]:
    """Return the head's line about data that changed between trials, and print it as a warning."""
    lines = data_warnings(cells, storage)
    print_warnings(lines)
    return {"warning": "; ".join(lines)} if lines else {}


def _log(
    run_name: str,
    spec: SweepSpec | StudySpec,
    cells: Sequence[Cell],
    written: Report | StudyReport,
    options: argparse.Namespace,
) -> dict[str, str | None] | None:
    """Log the report to MLflow if the trials are there, and return where; None otherwise.

    The report has been written before. If MLflow does not answer, a warning says so.
    """
    # These import MLflow, which takes seconds that a report on tables can spare.
    from sweeps.tracking.report import log_report
    from sweeps.tracking.tracker import Tracker

    storage = Storage(options.storage)
    name = spec.experiment or spec.name
    tracker = Tracker(name, storage, options.tracking_uri, main_metric(cells))
    if not tracker.has_delivered(cells):
        if not options.json:
            print(
                f"MLflow    the report was not logged, because {tracker.server.named} has none of "
                "its trials"
            )
        return None
    try:
        page = log_report(tracker, run_name, spec.description, written.directory, written.files)
    except ConfigurationError as error:
        print_warnings([f"{error}; run the same command again to log the report"])
        return None
    # A file may be loaded with other settings, or not at all, where the name is known.
    ui = command_line("ui", name, *changed_options(options, "storage", "tracking_uri"))
    if not options.json:
        print(f"MLflow    {page or ui}, run {run_name!r}")
    return {"page": page or None, "ui": ui, "run": run_name}
