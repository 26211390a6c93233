"""Print the main tables of a report in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from analysis.findings import Findings
from analysis.report.files import FORMATS
from analysis.report.study import StudyReport
from analysis.report.sweep import Report
from analysis.statistics.aggregate import COUNTS
from analysis.tables.accuracy import section, section_over_rho0
from analysis.tables.table import FAMILY, Mark, Table, marked
from analysis.tables.verdicts import VERDICT, spans_tried, verdict_table
from sweeps.terminal.table import Column, fitted, width_of


def show(report: Report) -> None:
    """Print the values of the metric, the verdict on each method's rho0, and the paper's claims."""
    console = Console()
    counts = report.findings.configurations[[*COUNTS, "absent"]].sum()
    if counts.sum() > counts["n"]:
        names = ["complete", *counts.index[1:]]
        found = [f"{n:.0f} {name}" for name, n in zip(names, counts, strict=True) if n]
        console.print(f"trials: {', '.join(found)}\n", highlight=False)
    metric = report.findings.metric
    printed = section(metric), section_over_rho0(metric)
    for table in report.tables:
        if table.section in printed:
            print_table(table, console)
    if len(report.findings.verdicts):
        _print_verdicts(report.findings, console)
    claims = [row for row in report.findings.claims.to_dict("records") if row["cells"]]
    if claims:
        console.print(Text("\nWhat the paper claims", style="italic"))
        for difference in _differences(report.findings.training_beside):
            console.print(Text(difference))
    for row in claims:
        console.print(Text.assemble((row["verdict"], "bold"), f"  {row['claim']}"))
    console.print()
    show_files(report)


def print_table(table: Table, console: Console) -> None:
    """Print a table with its caption and an empty line.

    The columns of a wide table continue below it, so that no number is cut off. Where marks cannot
    be shown, as in a pipe or a file, the caption says nothing about them.
    """
    note = "" if console.is_terminal else table.mark_note
    console.print(Text(table.caption.replace(note, ""), style="italic"))
    for part in render(table, console.width):
        Console(width=max(width_of(part), console.width)).print(part, "", sep="\n")


def _print_verdicts(findings: Findings, console: Console) -> None:
    """Print a row for each method: the verdict, and the sentence behind it with the sets."""
    table = verdict_table(findings)
    console.print(Text(f"{VERDICT} {spans_tried(findings)}", style="italic"))
    rows = table.body.to_dict("records")
    last = list(table.body.columns).index("verdict")
    columns = [
        _text_column(name, (Text(str(row[name])) for row in rows))
        for name in table.body.columns[:last]
    ]
    columns.append(_text_column("verdict", (Text(row["verdict"], style="bold") for row in rows)))
    columns.append(_text_column("reason", map(_reason, rows)))
    for part in fitted(columns, console.width):
        console.print(part)


def _reason(row: Mapping[Any, Any]) -> Text:
    sets = row["sets"] and f"\n{row['sets']}"
    return Text.assemble(row["reason"], (sets, "dim"))


def _text_column(name: str, cells: Iterable[Text]) -> Column:
    return Column(name, list(cells), is_text=True)


def _differences(training_beside: pd.DataFrame) -> list[str]:
    """Describe how the training differs from the paper's, each difference once."""
    if training_beside.empty:
        return []
    lines = training_beside[["what", "ours", "theirs"]].itertuples(index=False, name=None)
    return [
        f"differs from the paper: {what} {ours} instead of {theirs}"
        for what, ours, theirs in dict.fromkeys(lines)
    ]


def show_files(report: Report | StudyReport) -> None:
    """Print the paths of a report's files."""
    for name in report.formats:
        print(f"{name:<10}{report.directory / FORMATS[name]}")


def render(table: Table, width: int) -> list[RichTable]:
    """Convert a table, without its caption, to those of `rich`; marks become styles.

    The rho0 of a cell, and notes before it, are on lines of their own, so that four methods fit
    into 80 columns.

    Args:
        table: the table.
        width: letters of a line. A wider table becomes several; see `fitted`.
    """
    names = list(table.body.columns)
    labels = max([2, *(names.index(name) + 1 for name in FAMILY if name in names)])
    columns = [
        Column(
            str(name),
            [_text(_broken(str(cell))) for cell in table.body.iloc[:, position]],
            is_text=position < labels,
        )
        for position, name in enumerate(names)
    ]
    return fitted(columns, width)


def _broken(cell: str) -> str:
    value, at, rho0 = cell.partition(" at ")
    return value.replace(" [", "\n[") + f"\nat {rho0}" if at else cell


def _text(cell: str) -> Text:
    mark, number, rest = marked(cell)
    styles = {Mark.BOLD: "bold", Mark.UNDERLINED: "underline", Mark.NONE: ""}
    return Text.assemble((number, styles[mark]), rest)
