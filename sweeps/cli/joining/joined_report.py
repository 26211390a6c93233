"""Write a report on several sweeps, folders of results and tables."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from quantlab import ConfigurationError
from sweeps.cli.joining.sources import named_sources
from sweeps.cli.parsing.deciding import margin_of
from sweeps.cli.summary import print_warnings
from sweeps.deciding.record import recorded
from sweeps.joining.measurements import JoinedTrials, joined_trials
from sweeps.joining.naming import joined_name
from sweeps.joining.source import SweepSource
from sweeps.labels import label_of_number
from sweeps.planning.data_changes import data_warnings
from sweeps.printing.number_of import number_of
from sweeps.reporting import sweep_report
from sweeps.reporting.computed import description_of, origin_of
from sweeps.reporting.metric import metric_named
from sweeps.reporting.report_data import report_data
from sweeps.reporting.terminal import show
from sweeps.selection.exclusions import Exclusions
from sweeps.selection.names import part_name
from sweeps.storage.folder import Storage

_MOST_NAMED = 3
"""How many sources the title of a report names."""


def report_joined(
    options: argparse.Namespace,
    named: Callable[[str], sweep_report.ReportOptions],
    made_by: str,
) -> dict[str, Any]:
    """Report on several sources, and return the result for `print_json`.

    Args:
        options: the parsed command line.
        named: returns the options of the report with its name.
        made_by: the command line, for the head of the report.

    Raises:
        ConfigurationError: an option does not apply, or see `joined_trials`.
    """
    if options.study_storage:
        raise ConfigurationError(
            "--study-storage: applies to a study, which is not joined with others; omit the option"
        )
    given = named_sources(options)
    sweeps = [source for source in given.sources if isinstance(source, SweepSource)]
    if options.metric is not None and sweeps:
        raise ConfigurationError(
            f"--metric {options.metric}: applies to tables of trials, but {sweeps[0].name} is a "
            "sweep, which says it itself; omit the option"
        )
    exclusions = Exclusions(options.where)
    joined = joined_trials(
        given.sources,
        by=options.by,
        metric=None if options.metric is None else metric_named(options.metric),
        only=options.only,
        exclusions=exclusions,
    )
    margin, of_margins = _margin(options, sweeps)
    notes = [*given.notes, *joined.notes, *of_margins, *exclusions.notes]
    whole = joined_name(
        given.short_names, given.places, is_ambiguous=given.is_ambiguous, by=options.by or ""
    )
    name = part_name(whole, options.only, where=options.where)
    out = options.out or Storage(options.storage).root / "reports" / name
    written = sweep_report.report(
        joined.measurements,
        out,
        _title(joined.names, options.only),
        _facts(joined, notes) | {"made by": made_by},
        replace(named(name), margin=margin / 100),
        details=joined.details,
        links=joined.links(out),
        failed=joined.failed(out),
    )
    if not options.json:
        for note in notes:
            print(note)
        print(end="\n" if notes else "")
        show(written)
    return {
        "name": name,
        "kind": "joined",
        "sources": [
            {"name": of, "trials": count}
            for of, count in zip(joined.names, joined.counts, strict=True)
        ],
        "notes": notes,
        **report_data(written),
        "mlflow": None,
    }


def _margin(options: argparse.Namespace, sweeps: Sequence[SweepSource]) -> tuple[float, list[str]]:
    """Return the margin in points, and a note if the sweeps were run for different ones.

    It is the given one, or that of the sweeps that were run until decided, or else the usual one.
    """
    usual, found = margin_of(options), {}
    if options.margin is None:
        records = {source.name: recorded(source.sweep.name, source.storage) for source in sweeps}
        found = {name: known.margin for name, known in records.items() if known is not None}
    if len(set(found.values())) < 2:
        return next(iter(found.values()), usual), []
    each = ", ".join(f"{name}: {label_of_number(margin)}" for name, margin in found.items())
    return usual, [
        f"the sweeps were run until decided with different margins ({each}), and the report has "
        f"{label_of_number(usual)}; give --margin for another one"
    ]


def _title(names: Sequence[str], only: Sequence[str]) -> str:
    shown = list(names[:_MOST_NAMED])
    more = len(names) - len(shown)
    last = f"{more} more" if more else shown.pop()
    text = f"{', '.join(shown)} and {last}" if shown else last
    return f"Trials of {text}" + (f" with {', '.join(only)}" if only else "")


def _facts(joined: JoinedTrials, notes: Sequence[str]) -> dict[str, str]:
    """Return the lines of the report's head."""
    counted = zip(joined.names, joined.counts, strict=True)
    facts = {"joined": "; ".join(f"{name}: {number_of(count, 'trial')}" for name, count in counted)}
    if notes:
        facts["note"] = "; ".join(notes)
    if results := joined.results():
        facts |= {"computed": description_of(results), **origin_of(results)}
    warnings = [
        line for sweep, storage in joined.parts for line in data_warnings(sweep.cells, storage)
    ]
    print_warnings(warnings)
    return facts | ({"warning": "; ".join(warnings)} if warnings else {})
