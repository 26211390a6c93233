"""Print the main tables of a report in the terminal."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from analysis.findings import Findings
from analysis.report.files import FORMATS
from analysis.report.study import StudyReport
from analysis.report.sweep import Report
from analysis.statistics.aggregate import COUNTS
from analysis.tables.accuracy import section, section_over_rho0
from analysis.tables.table import Mark, Table, marked
from analysis.tables.verdicts import VERDICT, spans_tried, verdict_table

_MOST_COLUMNS = 12
"""Most columns of a table that is printed."""
_UNLIMITED = 10_000
"""A width in letters that every table has room in."""


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
        if table.section in printed and table.body.shape[1] <= _MOST_COLUMNS:
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

    Its lines continue on the next line of a narrow terminal, so that no number is cut off.
    """
    console.print(Text(table.caption, style="italic"))
    rendered = render(table)
    unlimited = console.options.update(max_width=_UNLIMITED)
    width = Measurement.get(console, unlimited, rendered).maximum
    Console(width=max(width, console.width)).print(rendered, "", sep="\n")


def _print_verdicts(findings: Findings, console: Console) -> None:
    """Print a row for each method: the verdict, and the sentence behind it with the sets."""
    table = verdict_table(findings)
    console.print(Text(f"{VERDICT} {spans_tried(findings)}", style="italic"))
    rendered = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    before = list(table.body.columns[: list(table.body.columns).index("verdict") + 1])
    for name in before:
        rendered.add_column(Text(name))
    rendered.add_column("reason")
    for row in table.body.to_dict("records"):
        reason = Text.assemble(row["reason"], (f"\n{row['sets']}", "dim"))
        cells = [Text(row[name], style="bold" if name == "verdict" else "") for name in before]
        rendered.add_row(*cells, reason if row["sets"] else Text(row["reason"]))
    console.print(rendered)


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


def render(table: Table) -> RichTable:
    """Convert a table, without its caption, to one of `rich`; marks become styles.

    The rho0 of a cell is on a second line, so that four methods fit into 80 columns.
    """
    rendered = RichTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for position, column in enumerate(table.body.columns):
        header = Text(str(column))  # `Text`, as a method's name may look like markup
        rendered.add_column(header, justify="left" if position < 2 else "right", no_wrap=True)
    for row in table.body.itertuples(index=False):
        rendered.add_row(*(_text(str(cell).replace(" at ", "\nat ")) for cell in row))
    return rendered


def _text(cell: str) -> Text:
    mark, number, rest = marked(cell)
    styles = {Mark.BOLD: "bold", Mark.UNDERLINED: "underline", Mark.NONE: ""}
    return Text.assemble((number, styles[mark]), rest)
