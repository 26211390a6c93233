"""Tables of the verdicts: one row for each method, and the rules behind them."""

from collections.abc import Iterable

import pandas as pd

from analysis.deciding.verdicts import rules as rules_of_looks
from analysis.findings import Findings
from analysis.metric import Metric
from analysis.rounding import decades, rho0_label
from analysis.statistics.aggregate import SETTING
from analysis.statistics.verdicts import rules
from analysis.tables.table import Columns, Table, build

VERDICT = "Can ρ0 be left untuned?"
"""Section of a report."""


def verdict_table(findings: Findings) -> Table:
    """The verdict on each method, with its sets, the ρ0 that were tried, and a sentence.

    Args:
        findings: result of `findings.analyse`.
    """
    verdicts = findings.verdicts
    constant = [key for key in SETTING if verdicts[key].nunique() == 1]
    where = ", ".join(str(verdicts[key].iloc[0]) for key in constant)
    columns: Columns = {key: key for key in SETTING if key not in constant}
    columns |= {
        "method": "method",
        "verdict": "verdict",
        "sets": "sets",
        "ρ0 tried": _tried,
    }
    if _spans_differ(verdicts):
        columns["range over equal spans"] = lambda row: _equal_span(row, findings.metric)
    columns["reason"] = "reason"
    return build(
        "verdicts",
        VERDICT,
        f"Whether the ρ0 of each method can be left untuned{f': {where}' if where else ''}. "
        f"{verdict_note(findings)}",
        verdicts,
        columns,
    )


def rules_table(findings: Findings) -> Table:
    """The rule behind each verdict; no rows without verdicts.

    Args:
        findings: result of `findings.analyse`.
    """
    return Table(
        "verdict_rules",
        VERDICT,
        "Rules of the verdicts. The first that applies decides.",
        pd.DataFrame(
            rules_of(findings).items() if len(findings.verdicts) else [],
            columns=["verdict", "rule"],
        ),
    )


def rules_of(findings: Findings) -> dict[str, str]:
    """The rule behind each verdict; those of a sweep that is run until decided are others.

    Args:
        findings: result of `findings.analyse`.
    """
    return (rules if findings.decisions.empty else rules_of_looks)(findings.metric)


def verdict_note(findings: Findings) -> str:
    """What a verdict is about, and over how many decades of ρ0 each method was tried.

    Args:
        findings: result of `findings.analyse`.
    """
    return " ".join(
        filter(
            None,
            [
                "The verdict on a method is that of its worst set, and holds for the ρ0 that were "
                "tried.",
                spans_tried(findings),
                f"The margin is {findings.metric.shown_margin(findings.margin)}.",
            ],
        )
    )


def spans_tried(findings: Findings) -> str:
    """A sentence that says over how many decades of ρ0 each method was tried; empty without any.

    Args:
        findings: result of `findings.analyse`.
    """
    known = findings.verdicts.dropna(subset="least_decades")
    widest = known["decades"].fillna(known["least_decades"])
    spans_of = known.assign(widest=widest).groupby("method", sort=False)
    ends_of = spans_of.agg(least=("least_decades", "min"), most=("widest", "max"))
    methods: dict[str, list[str]] = {}
    for method, *ends in ends_of.itertuples(name=None):
        methods.setdefault(" to ".join(dict.fromkeys(map(decades, ends))), []).append(str(method))
    if not methods:
        return ""
    if len(methods) == 1:
        return f"Every method was tried over {next(iter(methods))} decades of ρ0."
    spans = [f"{_names(names)} over {span}" for span, names in methods.items()]
    return f"Methods were tried over different numbers of decades of ρ0: {', '.join(spans)}."


def _names(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _tried(row: pd.Series) -> str:
    """``3 of 3 from 1e-4 to 1e-2 (2.0 decades)``; with both spans if those of the sets differ."""
    if pd.isna(row["lowest_rho0"]):
        return str(row["choices"])
    ends = f"{rho0_label(row['lowest_rho0'])} to {rho0_label(row['highest_rho0'])}"
    if pd.isna(row["decades"]):
        return f"{row['choices']} from {ends}"
    spans = dict.fromkeys(map(decades, (row["least_decades"], row["decades"])))
    return f"{row['choices']} from {ends} ({' to '.join(spans)} decades)"


def _spans_differ(verdicts: pd.DataFrame) -> bool:
    """Whether a method was tried over more decades than the narrowest grid of its setting has."""
    equal, own = (verdicts[name].map(decades) for name in ("equal_span_decades", "decades"))
    return bool((equal != own).any())


def _equal_span(row: pd.Series, metric: Metric) -> str:
    """``25.4 points over 0.6 decades``."""
    if pd.isna(row["equal_span_range"]):
        return ""
    change = metric.shown_difference(row["equal_span_range"], fewer=1)
    return f"{change} over {decades(row['equal_span_decades'])} decades"
