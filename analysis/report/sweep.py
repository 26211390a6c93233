"""The report of a sweep: HTML page, Markdown, LaTeX, figures, and all tables as CSV and Parquet."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.columns import axis_columns
from analysis.figures.gallery import all_figures
from analysis.figures.style import for_print
from analysis.findings import Findings, analyse
from analysis.labels import labels_of, names_of, renamed
from analysis.report.failures import FailedTrial
from analysis.report.files import FORMATS, ReportFiles
from analysis.report.latex_columns import LatexOptions
from analysis.report.sweep_page import render_report
from analysis.report.trials import TrialLinks
from analysis.schema import Measurements
from analysis.statistics.aggregate import KEYS
from analysis.statistics.selection import Split
from analysis.statistics.verdicts import MARGIN
from analysis.tables.findings import all_tables
from analysis.tables.table import Table
from analysis.text import plain


@dataclass(frozen=True)
class Report:
    """Findings of a sweep, and the files that show them."""

    findings: Findings
    tables: list[Table]
    directory: Path
    """Folder of the report."""
    formats: tuple[str, ...]
    """Formats that were written: keys of `FORMATS`."""
    files: tuple[Path, ...]
    """All files that were written."""


def write_report(
    measurements: Measurements,
    directory: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    formats: Collection[str] = tuple(FORMATS),
    select_on: Split = "validation",
    paper: str | None = None,
    margin: float = MARGIN,
    details: Callable[[Findings], Mapping[str, pd.DataFrame]] | None = None,
    latex: LatexOptions | None = None,
    links: Mapping[str, TrialLinks] | None = None,
    failed: Sequence[FailedTrial] = (),
) -> Report:
    """Analyse the trials of a sweep and write a report.

    The sweep may be unfinished. The HTML page contains everything it shows, so that it can be
    opened from disk without a network.

    Args:
        measurements: the trials, and the optional tables of histories, histograms, maps and
            importances.
        directory: folder of the report, which is made if it does not exist. Files with the same
            names
            are replaced, and other files of an earlier report are removed.
        title: heading of the report.
        facts: name -> text; lines at the top of the page, such as the command that made it.
        formats: keys of `FORMATS`. The folder of the format ``latex`` has all that a paper needs.
        select_on: see `findings.analyse`.
        paper: see `findings.analyse`.
        margin: see `findings.analyse`.
        details: returns further tables of `Measurements` by name, such as the histograms and maps
            of the selected configurations. It is called only if figures are drawn.
        latex: options of the LaTeX files.
        links: fingerprint of a trial -> where more about it is found.
        failed: the failed trials whose reasons are known, which the page lists.

    Raises:
        UnknownColumnError: a table or a column of `latex` is not there. Nothing was written.
        UnknownPaperError: `paper` is not a key of `published.PAPERS`.
        NotAccuracyError: see `findings.analyse`.
        OSError: the folder cannot be written to.
    """
    given, title = measurements, plain(title)
    measurements = _with_names_shown(given)
    facts = {name: plain(fact) for name, fact in facts.items()}
    findings = analyse(measurements, select_on=select_on, paper=paper, margin=margin)
    tables = all_tables(findings, measurements.importance)
    files = ReportFiles(directory, formats, latex)
    if details is not None and files.need_figures:
        further: Mapping[str, Any] = details(findings)
        measurements = _with_names_shown(replace(given, **further))
    with for_print():
        drawn = list(all_figures(measurements, findings)) if files.need_figures else []
        files.write_latex(title, tables, drawn)
        files.write_figures(drawn)
        if "html" in formats:
            files.write_page(
                render_report(
                    title,
                    facts,
                    measurements,
                    findings,
                    tables,
                    drawn,
                    recompute(measurements),
                    links or {},
                    failed,
                )
            )
    code = f"```python\n{recompute(measurements)}\n```"
    what = findings.metric.label
    end = f"These lines recompute every {what} from `tables/trials.csv`:\n\n{code}\n"
    files.write_markdown(title, f"{states(measurements.trials)}.", tables, end)
    files.write_table("trials", given.trials, is_named=True)
    files.write_table("history", measurements.history)
    for name, table in findings.tables():
        files.write_table(name, table)
    files.remove_older()
    return Report(findings, tables, directory, files.formats, tuple(files.written))


def _with_names_shown(measurements: Measurements) -> Measurements:
    """The measurements with labels in place of names."""
    names = labels_of(names_of(measurements.trials))
    return replace(
        measurements,
        trials=renamed(measurements.trials, names),
        maps=renamed(measurements.maps, names),
        importance=renamed(measurements.importance, names),
    )


def recompute(measurements: Measurements) -> str:
    """Two lines of pandas that recompute every value of the tables from trials.csv."""
    metric = measurements.metric
    factor = "" if metric.factor == 1 else f"{metric.factor:g} * "
    names = [*KEYS, *axis_columns(measurements.trials)]
    keys = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return (
        'trials = pd.read_csv("tables/trials.csv").query("state == \'COMPLETE\'")\n'
        f"{factor}trials.groupby([{keys}], dropna=False)"
        f'["{metric.column("test")}"].agg(["mean", "std"])'
    )


def states(trials: pd.DataFrame) -> str:
    """Number of trials by state: ``93 trials: 90 COMPLETE, 3 WAITING``."""
    counts = trials["state"].value_counts().to_dict()
    return f"{len(trials)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items())
