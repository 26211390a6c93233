"""A folder of results: a page, Markdown, LaTeX, figures, and every table as CSV and Parquet."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.columns import axis_columns
from analysis.figures.gallery import all_figures
from analysis.figures.style import for_print
from analysis.findings import Findings, analyse
from analysis.labels import names_of, renamed, shown
from analysis.report.files import FORMATS, ReportFiles
from analysis.report.sweep_page import render_report
from analysis.schema import Measurements
from analysis.statistics.aggregate import KEYS
from analysis.statistics.selection import Split
from analysis.statistics.verdicts import MARGIN
from analysis.tables.findings import all_tables
from analysis.tables.table import Table
from analysis.text import plain


@dataclass(frozen=True)
class Report:
    """What was found, and where it was written."""

    findings: Findings
    tables: list[Table]
    directory: Path
    """Holds the files."""
    formats: tuple[str, ...]
    """What has been written: keys of `FORMATS`."""
    files: tuple[Path, ...]
    """All that has been written."""


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
) -> Report:
    """Analyse trials, finished or not, and write down what is found.

    The page holds everything it shows; it opens from disk, without a network.

    Args:
        measurements: trials, and whatever else there is.
        directory: made if it is not there. Files of the same names are replaced, and others of an
            earlier report removed.
        title: heading, usually the sweep's name.
        facts: lines of the page's head, such as the storage and the command that makes it again.
        formats: keys of `FORMATS`. LaTeX needs the figures' PDF files, which it writes by itself.
        select_on: see `findings.analyse`.
        paper: see `findings.analyse`.
        margin: see `findings.analyse`.

    Raises:
        UnknownPaperError: there are no numbers of such a paper.
        OSError: the directory cannot be written to.
    """
    trials, title = measurements.trials, plain(title)
    measurements = _with_names_shown(measurements)
    facts = {name: plain(fact) for name, fact in facts.items()}
    findings = analyse(measurements, select_on=select_on, paper=paper, margin=margin)
    tables = all_tables(findings, measurements.importance)
    files = ReportFiles(directory, formats)
    with for_print():
        drawn = list(all_figures(measurements, findings)) if files.need_figures else []
        files.write_figures(drawn)
        if "html" in formats:
            files.write_page(
                render_report(
                    title,
                    facts,
                    measurements.trials,
                    findings,
                    tables,
                    drawn,
                    recompute(measurements),
                )
            )
    code = f"```python\n{recompute(measurements)}\n```"
    end = f"Every accuracy from `tables/trials.csv`:\n\n{code}\n"
    files.write_markdown(title, f"{states(measurements.trials)}.", tables, end)
    files.write_latex(title, tables, drawn)
    files.write_table("trials", trials, is_named=True)
    files.write_table("history", measurements.history)
    for name, table in findings.tables():
        files.write_table(name, table)
    files.remove_older()
    return Report(findings, tables, directory, files.formats, tuple(files.written))


def _with_names_shown(measurements: Measurements) -> Measurements:
    """The same, with names as they are shown in all that is for people."""
    names = shown(names_of(measurements.trials))
    return replace(
        measurements,
        trials=renamed(measurements.trials, names),
        maps=renamed(measurements.maps, names),
        importance=renamed(measurements.importance, names),
    )


def recompute(measurements: Measurements) -> str:
    """Two lines of pandas that give every accuracy of the tables back from trials.csv."""
    names = [*KEYS, *axis_columns(measurements.trials)]
    keys = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return (
        'trials = pd.read_csv("tables/trials.csv").query("state == \'COMPLETE\'")\n'
        f"100 * trials.groupby([{keys}], dropna=False)"
        '["test_accuracy"].agg(["mean", "std"])'
    )


def states(trials: pd.DataFrame) -> str:
    """``93 trials: 90 COMPLETE, 3 WAITING``."""
    counts = trials["state"].value_counts().to_dict()
    return f"{len(trials)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items())
