"""A folder of results: a page, Markdown, LaTeX, figures, and every table as CSV and Parquet."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.aggregate import KEYS, axis_columns
from analysis.figures.gallery import Drawn, all_figures
from analysis.figures.style import for_print
from analysis.finding_tables import all_tables
from analysis.findings import Findings, analyse
from analysis.latex import LONGEST, latex_document, latex_table
from analysis.page import render_page
from analysis.schema import Measurements
from analysis.selection import Split
from analysis.sensitivity import MARGIN
from analysis.tables import Table

FORMATS: Mapping[str, str] = {
    "html": "report.html",
    "markdown": "report.md",
    "latex": "latex/report.tex",
    "csv": "tables/*.csv",
    "parquet": "tables/*.parquet",
    "figures": "figures/*.svg, *.pdf and *.png",
}
"""What a report can be written as -> its files. LaTeX has a file a table, for other papers, and one
that reads them all and shows the figures; it is compiled in its own folder."""


@dataclass(frozen=True)
class Report:
    """What was found, and where it was written."""

    findings: Findings
    tables: list[Table]
    directory: Path
    """Holds this report's files; others of its names have been replaced."""
    formats: tuple[str, ...]
    """What has been written: keys of `FORMATS`."""


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
        directory: made if it is not there; files of the same names are replaced.
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
    findings = analyse(measurements, select_on=select_on, paper=paper, margin=margin)
    tables = all_tables(findings, measurements.importance)
    directory.mkdir(parents=True, exist_ok=True)
    with for_print():
        drawn = list(all_figures(measurements, findings)) if _needs_figures(formats) else []
        endings = {"figures": ("svg", "pdf", "png"), "latex": ("pdf",)}
        _write_figures(
            drawn,
            directory / "figures",
            sorted({ending for name in formats for ending in endings.get(name, ())}),
        )
        if "html" in formats:
            page = render_page(
                title, facts, measurements.trials, findings, tables, drawn, recompute(measurements)
            )
            (directory / "report.html").write_text(page, encoding="utf-8")
    if "markdown" in formats:
        text = _markdown(title, measurements, tables)
        (directory / "report.md").write_text(text, encoding="utf-8")
    if "latex" in formats:
        _write_latex(title, tables, drawn, directory / "latex")
    _write_data(measurements, findings, directory / "tables", formats)
    return Report(findings, tables, directory, tuple(formats))


def recompute(measurements: Measurements) -> str:
    """Two lines of pandas that give every accuracy of the tables back from trials.csv."""
    keys = ", ".join(f'"{key}"' for key in [*KEYS, *axis_columns(measurements.trials)])
    return (
        'trials = pd.read_csv("tables/trials.csv")\n'
        f"100 * trials.groupby([{keys}], dropna=False)"
        '["test_accuracy"].agg(["mean", "std"])'
    )


def states(trials: pd.DataFrame) -> str:
    """``93 trials: 90 COMPLETE, 3 WAITING``."""
    counts = trials["state"].value_counts().to_dict()
    return f"{len(trials)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _needs_figures(formats: Collection[str]) -> bool:
    return bool({"html", "figures", "latex"} & set(formats))


def _write_figures(drawn: Iterable[Drawn], directory: Path, endings: Collection[str]) -> None:
    if not endings:
        return
    directory.mkdir(exist_ok=True)
    for item in drawn:
        for ending in endings:
            path = directory / f"{item.name}.{ending}"
            if ending == "svg":
                path.write_text(item.svg, encoding="utf-8")
                continue
            # Without a date in it, the same trials give the same file.
            metadata = {"CreationDate": None} if ending == "pdf" else None
            item.figure.savefig(path, metadata=metadata)


def _markdown(title: str, measurements: Measurements, tables: Iterable[Table]) -> str:
    lines, section = [f"# {title}\n\n{states(measurements.trials)}.\n"], ""
    for table in tables:
        if table.section != section:
            section = table.section
            lines.append(f"## {section}\n")
        lines.append(table.markdown())
    lines.append(
        f"Every accuracy from `tables/trials.csv`:\n\n```python\n{recompute(measurements)}\n```\n"
    )
    return "\n".join(lines)


def _write_latex(
    title: str, tables: Iterable[Table], drawn: Iterable[Drawn], directory: Path
) -> None:
    directory.mkdir(exist_ok=True)
    short = [table for table in tables if len(table.body) <= LONGEST]
    for table in short:
        (directory / f"{table.name}.tex").write_text(latex_table(table), encoding="utf-8")
    figures = [(f"../figures/{item.name}.pdf", item.caption) for item in drawn]
    document = latex_document(title, short, figures)
    (directory / "report.tex").write_text(document, encoding="utf-8")


def _write_data(
    measurements: Measurements, findings: Findings, directory: Path, formats: Collection[str]
) -> None:
    if not {"csv", "parquet"} & set(formats):
        return
    directory.mkdir(exist_ok=True)
    measured = {"trials": measurements.trials, "history": measurements.history}
    for name, table in [*measured.items(), *findings.tables()]:
        if "csv" in formats:
            table.to_csv(directory / f"{name}.csv", index=False)
        if "parquet" in formats:
            table.to_parquet(directory / f"{name}.parquet", index=False)
