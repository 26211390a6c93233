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
    findings = analyse(measurements, select_on=select_on, paper=paper, margin=margin)
    tables = all_tables(findings, measurements.importance)
    files = _Files(directory)
    with for_print():
        drawn = list(all_figures(measurements, findings)) if _needs_figures(formats) else []
        endings = {"figures": ("svg", "pdf", "png"), "latex": ("pdf",)}
        _write_figures(
            drawn, files, sorted({ending for name in formats for ending in endings.get(name, ())})
        )
        if "html" in formats:
            page = render_page(
                title, facts, measurements.trials, findings, tables, drawn, recompute(measurements)
            )
            files.write("report.html", page)
    if "markdown" in formats:
        files.write("report.md", _markdown(title, measurements, tables))
    if "latex" in formats:
        _write_latex(title, tables, drawn, files)
    _write_data(measurements, findings, files, formats)
    files.remove_older()
    return Report(findings, tables, directory, tuple(formats), tuple(files.written))


class _Files:
    """A report's files; a list of them lies beside them, by which the next one knows its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written: list[Path] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._list = directory / ".report-files"
        self._older = (
            self._list.read_text(encoding="utf-8").splitlines() if self._list.exists() else []
        )

    def path(self, name: str) -> Path:
        """Where to write a file."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        self.written.append(path)
        return path

    def write(self, name: str, text: str) -> None:
        self.path(name).write_text(text, encoding="utf-8")

    def remove_older(self) -> None:
        """Of an earlier report, what this one has not written again."""
        names = [str(path.relative_to(self.directory)) for path in self.written]
        for name in set(self._older) - set(names):
            (self.directory / name).unlink(missing_ok=True)
        self._list.write_text("\n".join(names) + "\n", encoding="utf-8")


def recompute(measurements: Measurements) -> str:
    """Two lines of pandas that give every accuracy of the tables back from trials.csv."""
    keys = ", ".join(f'"{key}"' for key in [*KEYS, *axis_columns(measurements.trials)])
    return (
        'trials = pd.read_csv("tables/trials.csv").query("state == \'COMPLETE\'")\n'
        f"100 * trials.groupby([{keys}], dropna=False)"
        '["test_accuracy"].agg(["mean", "std"])'
    )


def states(trials: pd.DataFrame) -> str:
    """``93 trials: 90 COMPLETE, 3 WAITING``."""
    counts = trials["state"].value_counts().to_dict()
    return f"{len(trials)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _needs_figures(formats: Collection[str]) -> bool:
    return bool({"html", "figures", "latex"} & set(formats))


def _write_figures(drawn: Iterable[Drawn], files: _Files, endings: Collection[str]) -> None:
    for item in drawn:
        for ending in endings:
            path = files.path(f"figures/{item.name}.{ending}")
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
    title: str, tables: Iterable[Table], drawn: Iterable[Drawn], files: _Files
) -> None:
    short = [table for table in tables if len(table.body) <= LONGEST]
    for table in short:
        files.write(f"latex/{table.name}.tex", latex_table(table))
    left_out = [table.name for table in tables if len(table.body) > LONGEST]
    figures = [(f"../figures/{item.name}.pdf", item.caption) for item in drawn]
    files.write("latex/report.tex", latex_document(title, short, left_out, figures))


def _write_data(
    measurements: Measurements, findings: Findings, files: _Files, formats: Collection[str]
) -> None:
    tables = {"trials": measurements.trials, "history": measurements.history}
    tables |= dict(findings.tables())
    for name, table in tables.items():
        is_named = name == "trials" and bool({"html", "markdown"} & set(formats))
        if "csv" in formats or is_named:
            table.to_csv(files.path(f"tables/{name}.csv"), index=False)
        if "parquet" in formats:
            _plain_text(table).to_parquet(files.path(f"tables/{name}.parquet"), index=False)


def _plain_text(table: pd.DataFrame) -> pd.DataFrame:
    """With text only in columns that have some, as recipes' settings may be of any kind."""
    mixed = [column for column in table.columns if table[column].dtype == object]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed})
