"""A study's folder of results: a page, Markdown, LaTeX, figures, and its configurations as CSV."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.figures.drawn import Drawn
from analysis.figures.front import front_figure
from analysis.figures.maps import maps_figure
from analysis.figures.style import for_print
from analysis.report.files import FORMATS, ReportFiles
from analysis.report.page import render_page
from analysis.study_schema import OBJECTIVE_PREFIX, PARAMETER_PREFIX, StudyMeasurements, is_fraction
from analysis.tables.table import Table

FOUND, RACE, SPACE, ALL = (
    "What was found",
    "The race",
    "The space",
    "Every configuration",
)
"""Sections; whoever draws more figures puts them there."""
SHOWN = 10
"""So many of the best are shown at once."""


@dataclass(frozen=True)
class StudyReport:
    """Where it was written."""

    tables: list[Table]
    directory: Path
    """Holds the files."""
    formats: tuple[str, ...]
    """What has been written: keys of `report_files.FORMATS`."""
    files: tuple[Path, ...]
    """All that has been written."""


def write_study_report(
    study: StudyMeasurements,
    directory: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    draw: Callable[[], Iterable[Drawn]] = tuple,
    formats: Collection[str] = tuple(FORMATS),
) -> StudyReport:
    """Write down what a study has found.

    Args:
        study: its configurations and its winner.
        directory: see `report.write_report`.
        title: heading.
        facts: lines of the page's head.
        draw: makes further figures, such as Optuna's, in the sections of this module.
        formats: keys of `report_files.FORMATS`.

    Raises:
        OSError: the directory cannot be written to.
    """
    tables = study_tables(study)
    files = ReportFiles(directory, formats)
    with for_print():
        figures = [*_figures(study), *draw()] if files.need_figures else []
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
            )
            files.write_page(page)
    what = f"The winner, {study.winner}:\n\n```\n{study.formula}\n```\n"
    code = f"```python\n{study.snippet}\n```\n"
    standing = "".join(f"- {line}\n" for line in study.standing)
    files.write_markdown(title, f"{standing}\n{what}\n{code}", tables)
    files.write_latex(title, tables, figures)
    files.write_table("configurations", study.configurations, is_named=True)
    files.remove_older()
    return StudyReport(tables, directory, files.formats, tuple(files.written))


def study_tables(study: StudyMeasurements) -> list[Table]:
    """The front, if there is one; the best configurations; all of them."""
    ranked = study.ranked
    tables = []
    if len(study.objectives) > 1:
        front = ranked[ranked["on_front"]]
        caption = "What no other beats in everything: the Pareto front"
        tables.append(Table("front", FOUND, caption, _body(study, front)))
    best = ranked.head(SHOWN)
    known = ranked[(ranked["label"] != "") & ~ranked["configuration"].isin(best["configuration"])]
    tables.append(
        Table(
            "best",
            FOUND,
            f"The best {len(best)}, and what was known before",
            _body(study, pd.concat([best, known])),
        )
    )
    tables.append(Table("configurations", ALL, ALL, _body(study, study.configurations)))
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
    for name in study.objectives:
        values = rows[f"{OBJECTIVE_PREFIX}{name}"]
        if is_fraction(name):
            columns[f"{name} %"] = (100 * values).map(_number)
        else:
            columns[name] = values.map(_number)
    for column in parameters:
        columns[column.removeprefix(PARAMETER_PREFIX)] = rows[column].map(_number)
    return pd.DataFrame(columns).reset_index(drop=True)


def _number(value: object) -> str:
    """Four digits; text as it is; empty if missing."""
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
                "What the winner does with a weight while it is annealed, and what the known "
                "points do. PQ and rPC apply theirs to the same weight again and again.",
                maps_figure(study.maps),
            )
        )
    if len(study.objectives) == 2:
        drawn.append(
            Drawn(
                "front",
                FOUND,
                "Every configuration that was tried to its end; the line joins what no other "
                "beats in both.",
                front_figure(study.configurations, study.objectives),
            )
        )
    for item in drawn:
        item.figure.draw_without_rendering()
        item.figure.set_layout_engine("none")
    return drawn
