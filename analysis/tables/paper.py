"""Tables that compare a sweep with a paper: its claims, its numbers and its training."""

from collections.abc import Iterator

import pandas as pd

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.findings import Findings
from analysis.published import PAPERS, STAND_IN, oddities, published
from analysis.rounding import mean_and_std, p_value, points, rho0_label
from analysis.tables.table import FAMILY, WHERE, Table, build, of
from analysis.text import folded

PAPER = "Comparison with the paper"
"""Section of a report."""


def paper_tables(findings: Findings) -> Iterator[Table]:
    """The tables that compare the findings with a paper; none without a paper.

    Args:
        findings: result of `findings.analyse`.
    """
    yield from _claims(findings)
    yield from _beside(findings)


def _claims(findings: Findings) -> Iterator[Table]:
    if findings.paper is None or findings.claims.empty:
        return
    yield build(
        "claims",
        PAPER,
        f"Claims of {PAPERS[findings.paper]}, and whether they hold in this sweep. The noise "
        "column counts the cells in which the answer is within the noise over seeds (95 %). The "
        "exceptions "
        "are in points of test accuracy." + _elsewhere(findings) + _other_methods(findings),
        findings.claims,
        {
            "claim": "claim",
            "source": "source",
            "here": lambda row: row["verdict"] + _ties(row["ties"]),
            "cells": "cells",
            "noise": lambda row: (
                f"{row['within_noise']}"
                + (f" ({row['untested']} untested)" if row["untested"] else "")
            ),
            "exceptions": "exceptions",
        },
    )


def _elsewhere(findings: Findings) -> str:
    """A sentence for the case that the sweep differs from the paper's setting."""
    beside = findings.beside
    if beside.empty or beside["same_setting"].all():
        return ""
    return (
        " The sweep differs from the paper's setting; the table of accuracies below lists the "
        "differences."
    )


def _other_methods(findings: Findings) -> str:
    """A sentence about methods whose names the paper does not have; empty without any."""
    assert findings.paper is not None
    theirs = dict.fromkeys(published(findings.paper)["method"])
    alike = {folded(name): name for name in reversed(theirs)}
    others = [
        method + (f" (but {alike[folded(method)]})" if folded(method) in alike else "")
        for method in dict.fromkeys(findings.selected["method"])
        if method not in theirs
    ]
    if not others:
        return ""
    return f" Methods are matched by name. The paper does not have {', '.join(others)}."


def _ties(count: int) -> str:
    return f" ({count} tie{'s' if count > 1 else ''})" if count else ""


def _beside(findings: Findings) -> Iterator[Table]:
    if findings.paper is None:
        return
    paper = PAPERS[findings.paper]
    beside = findings.beside
    foreign = [] if beside.empty else sorted(set(beside.loc[beside["stand_in"], "model"]))
    note = ""
    stand_in = STAND_IN[findings.paper]
    if foreign:
        note = (
            f" The paper does not have {', '.join(foreign)}, compared here with its {stand_in[1]} "
            f"on {stand_in[0]}: only signs and ranks are meaningful there."
        )
    if own := [name.removeprefix(AXIS_PREFIX) for name in axis_columns(beside)]:
        note += f" Further axes of this sweep, which the paper does not have: {', '.join(own)}."
    yield build(
        "beside",
        PAPER,
        f"Test accuracy (%) of this sweep beside {paper}.{note}",
        beside,
        {
            **FAMILY,
            "cell": lambda row: _cell_label(row),
            "ours": lambda row: (
                mean_and_std(row["ours"], row["ours_std"])
                + (f" [n = {row['n']}]" if row["n"] < row["seeds"] else "")
            ),
            "theirs": lambda row: mean_and_std(row["theirs"], row["theirs_std"]),
            "ours - theirs": of("difference", points, sign=True),
            "their table": "table",
            "differs in": lambda row: "dataset, network" if row["stand_in"] else row["differs"],
        },
    )
    yield build(
        "training_beside",
        PAPER,
        f"Differences between our training and that of {paper} for the same network and dataset. "
        "They may explain differences of accuracy.",
        findings.training_beside,
        {
            **WHERE,
            "what": "what",
            "methods": "methods",
            "ours": "ours",
            "theirs": "theirs",
        },
    )
    yield build(
        "ranks",
        PAPER,
        "Agreement with the paper on the order of the cells, by Kendall's τ. It is 1 for the same "
        "order and -1 for the reverse, over the cells of each of the paper's tables that were run "
        "here.",
        findings.ranks,
        {
            **WHERE,
            "their table": "table",
            "cells": "cells",
            "τ": lambda row: "" if pd.isna(row["tau"]) else f"{row['tau']:+.2f}",
            "p": of("p", p_value),
        },
    )
    yield build(
        "oddities",
        PAPER,
        "Inconsistencies in the paper's own tables. Listed are entries of its main tables that "
        "differ from those of the appendix, and standard deviations of zero.",
        oddities(findings.paper),
        {
            "table": "table",
            **FAMILY,
            "inconsistency": "kind",
            "main %": "main",
            "appendix %": "appendix",
        },
    )


def _cell_label(row: pd.Series) -> str:
    if row["cell"] != "best ρ0":
        return f"ρ0 = {rho0_label(row['rho0'])}"
    return "" if pd.isna(row["rho0"]) else f"best ρ0 (ours: {rho0_label(row['rho0'])})"
