"""The HTML page of a sweep's report."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.columns import RECIPE_PREFIX
from analysis.figures.drawn import Drawn
from analysis.findings import Findings
from analysis.interactive.explorer import explorer
from analysis.report.failures import FailedTrial, by_reason
from analysis.report.page import render_page
from analysis.report.trials import TrialLinks, trial_table
from analysis.schema import Measurements
from analysis.tables.findings import CONFIGURATIONS
from analysis.tables.table import Table
from analysis.tables.verdicts import VERDICT, rules_of, verdict_note, verdict_table
from analysis.text import plain


def render_report(
    title: str,
    facts: Mapping[str, str],
    measurements: Measurements,
    findings: Findings,
    tables: Sequence[Table],
    drawn: Sequence[Drawn],
    recompute: str,
    links: Mapping[str, TrialLinks],
    failed: Sequence[FailedTrial] = (),
) -> str:
    """Render the HTML page of a sweep's report.

    Args:
        title: heading of the page.
        facts: name -> text; lines at the top of the page.
        measurements: the trials, and their metrics.
        findings: result of `findings.analyse` on the trials.
        tables: tables of the findings.
        drawn: figures of the findings.
        recompute: Python code that recomputes the values of the metric.
        links: fingerprint of a trial -> where more about it is found.
        failed: the failed trials whose reasons are known.

    Returns:
        The text of the HTML file.
    """
    trials = measurements.trials
    common, recipes = _recipes(trials, findings.configurations)
    commits = sorted(set(trials["git_commit"].unique()) - {""})
    counts = trials["state"].value_counts()
    return render_page(
        "report.html.j2",
        title=title,
        facts={**facts, "trials ran at": ", ".join(commits)},
        tables=tables,
        drawn=drawn,
        last=CONFIGURATIONS,
        without=(VERDICT,),  # the template shows them at the top
        num_trials=len(trials),
        states=[(state, int(count)) for state, count in counts.items()],
        verdict_section=VERDICT,
        verdict_note=verdict_note(findings),
        rules=rules_of(findings),
        verdicts=verdict_table(findings).body,
        common=common,
        recipes=recipes,
        trials=trial_table(measurements, links),
        failures=by_reason(failed),
        explorer=explorer(measurements, findings.selected),
        metric=findings.metric.label,
        recompute=recompute,
    )


def _recipes(
    trials: pd.DataFrame, configurations: pd.DataFrame
) -> tuple[list[tuple[str, str]], list[tuple[str, list[tuple[str, str]]]]]:
    """Settings that all recipes share, and name and other settings of each configuration."""
    columns = [column for column in trials.columns if column.startswith(RECIPE_PREFIX)]
    columns = [column for column in columns if column != f"{RECIPE_PREFIX}seed"]
    first = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    first = first.loc[configurations["configuration_id"]]
    texts = first[columns].astype(object).where(first[columns].notna(), "").astype(str).map(plain)
    same = [column for column in columns if texts[column].nunique() == 1]
    common = [(_short(column), texts[column].iloc[0]) for column in same]
    others = [column for column in columns if column not in same]
    own = []
    shown = [_short(column) for column in others]
    rows = texts[others].itertuples(index=False, name=None)
    for row, name in zip(rows, _names(first), strict=True):
        own.append((name, [pair for pair in zip(shown, row, strict=True) if pair[1]]))
    return [item for item in common if item[1]], own


def _names(first: pd.DataFrame) -> list[str]:
    """The name of each configuration: that of its first trial without the seed."""
    return [name.rsplit(" seed=", 1)[0] for name in first["name"]]


def _short(column: str) -> str:
    return column.removeprefix(RECIPE_PREFIX)
