"""The report of a study: HTML page, Markdown, LaTeX, figures, and its configurations as CSV."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.figures.drawn import Drawn
from analysis.figures.front import front_figure
from analysis.figures.maps import maps_figure
from analysis.figures.style import for_print, freeze_layout
from analysis.interactive.study import study_explorer
from analysis.report.failures import FailedTrial, by_reason
from analysis.report.files import FORMATS, ReportFiles
from analysis.report.latex_columns import LatexOptions
from analysis.report.page import render_page
from analysis.study_schema import OBJECTIVE_PREFIX, PARAMETER_PREFIX, StudyMeasurements
from analysis.tables.table import Table, markdown_text

FOUND, SEARCH, SPACE, ALL = (
    "Results",
    "Course of the search",
    "Search space",
    "All configurations",
)
"""Sections of the report, for its tables and for figures that the caller draws."""
SHOWN = 10
"""Number of configurations in the table of the best."""


@dataclass(frozen=True)
class StudyReport:
    """Tables of a study, and the files that show them."""

    tables: list[Table]
    directory: Path
    """Folder of the report."""
    formats: tuple[str, ...]
    """Formats that were written: keys of `files.FORMATS`."""
    files: tuple[Path, ...]
    """All files that were written."""


def write_study_report(
    study: StudyMeasurements,
    directory: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    draw: Callable[[], Iterable[Drawn]] = tuple,
    formats: Collection[str] = tuple(FORMATS),
    latex: LatexOptions | None = None,
    failed: Sequence[FailedTrial] = (),
) -> StudyReport:
    """Write the report of a study, finished or not.

    Args:
        study: its configurations and its winner.
        directory: see `sweep.write_report`.
        title: heading of the report.
        facts: name -> text; lines at the top of the page.
        draw: makes further figures, such as Optuna's, for the sections of this module.
        formats: keys of `files.FORMATS`.
        latex: options of the LaTeX files.
        failed: its failed trials, which the page lists.

    Raises:
        UnknownColumnError: a table or a column of `latex` is not there. Nothing was written.
        OSError: the folder cannot be written to.
    """
    tables = study_tables(study)
    files = ReportFiles(directory, formats, latex)
    with for_print():
        figures = [*_figures(study), *draw()] if files.need_figures else []
        files.write_latex(title, tables, figures)
        files.write_figures(figures)
        if "html" in formats:
            page = render_page(
                "study.html.j2",
                title=title,
                facts=facts,
                tables=tables,
                drawn=figures,
                last=ALL,
                standing=study.standing,
                winner=study.winner,
                formula=study.formula,
                snippet=study.snippet,
                explorer=study_explorer(study),
                failures=by_reason(failed),
            )
            files.write_page(page)
    what = f"The winner is {markdown_text(study.winner)}:\n\n```\n{study.formula}\n```\n"
    code = f"```python\n{study.snippet}\n```\n"
    standing = "".join(f"- {markdown_text(line)}\n" for line in study.standing)
    files.write_markdown(title, f"{standing}\n{what}\n{code}", tables)
    files.write_table("configurations", study.configurations, is_named=True)
    if not study.variants.empty:
        files.write_table("variants", study.variants, is_named=True)
    files.remove_older()
    return StudyReport(tables, directory, files.formats, tuple(files.written))


def study_tables(study: StudyMeasurements) -> list[Table]:
    """Tables of the Pareto front (for several objectives), of the best and of all configurations.

    Args:
        study: result of a study.
    """
    ranked, first = study.ranked, study.objectives[0]
    tables = []
    if len(study.objectives) > 1:
        front = ranked[ranked["on_front"]]
        caption = (
            "The Pareto front. No other configuration is better in one objective and at least as "
            "good in the others."
        )
        tables.append(Table("front", FOUND, caption, _body(study, front)))
    best = ranked.head(SHOWN)
    known = ranked[(ranked["label"] != "") & ~ranked["configuration"].isin(best["configuration"])]
    tables.append(
        Table(
            "best",
            FOUND,
            f"The {len(best)} best configurations, and the known points.",
            _body(study, pd.concat([best, known])),
        )
    )
    if not study.variants.empty:
        rows = study.variants
        shown = {name: rows[name].astype(float).map(first.text) for name in ("mean", "worst")}
        names = {name: f"{name} ({first.unit})" if first.unit else name for name in shown}
        caption = (
            "The winner and the known points in each setting and with each value of the knobs: "
            f"mean and worst of the trials so far. The {first.name} of a configuration is that "
            "over all its trials."
        )
        body = rows.assign(**shown, trials=rows["trials"].astype(str)).rename(columns=names)
        tables.append(Table("variants", FOUND, caption, body))
    tables.append(Table("configurations", ALL, f"{ALL}.", _body(study, study.configurations)))
    return tables


def _body(study: StudyMeasurements, rows: pd.DataFrame) -> pd.DataFrame:
    parameters = [
        column
        for column in rows.columns
        if column.startswith(PARAMETER_PREFIX) and rows[column].notna().any()
    ]
    columns: dict[str, pd.Series] = {
        "configuration": rows["configuration"].astype(str)
        + [f" ({label})" if label else "" for label in rows["label"]],
        "state": rows["state"],
        "seeds": rows["seeds"].astype(str),
    }
    for objective in study.objectives:
        values = rows[f"{OBJECTIVE_PREFIX}{objective.name}"].astype(float)
        columns[objective.labelled] = values.map(objective.text)
    for column in parameters:
        columns[column.removeprefix(PARAMETER_PREFIX)] = rows[column].map(_number)
    return pd.DataFrame(columns).reset_index(drop=True)


def _number(value: object) -> str:
    """A number with four significant digits, or a text; empty if missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.4g}"
    return str(value)


def _figures(study: StudyMeasurements) -> list[Drawn]:
    drawn = []
    if not study.maps.empty:
        drawn.append(
            Drawn(
                "maps",
                FOUND,
                "The proximal maps of the winner and of the known points during "
                "annealing. PQ and rPC apply theirs repeatedly to the same weight, so that small "
                "shifts add up.",
                maps_figure(study.maps),
            )
        )
    if len(study.objectives) == 2:
        drawn.append(
            Drawn(
                "front",
                FOUND,
                "The objectives of every COMPLETE configuration. The line is the Pareto front.",
                front_figure(study.configurations, study.objectives),
            )
        )
    for item in drawn:
        freeze_layout(item.figure)
    return drawn
