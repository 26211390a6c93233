"""Findings -> tables for people: a paper's claims, and its numbers beside ours."""

from collections.abc import Iterator

import pandas as pd

from analysis.findings import Findings
from analysis.published import PAPERS, STAND_IN, oddities
from analysis.rounding import mean_and_std, p_value, points, rho0_label
from analysis.tables.table import FAMILY, WHERE, Table, build, of

PAPER = "Beside the paper"
"""Section of a report."""


def paper_tables(findings: Findings) -> Iterator[Table]:
    """What the paper claims, ours and theirs, and what is odd in theirs."""
    yield from _claims(findings)
    yield from _beside(findings)


def _claims(findings: Findings) -> Iterator[Table]:
    if findings.paper is None or findings.claims.empty:
        return
    yield build(
        "claims",
        PAPER,
        f"What {PAPERS[findings.paper]} claims, and whether it holds here, in points of test "
        "accuracy. Noise: cells whose seeds could turn the answer (95 %)" + _elsewhere(findings),
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
    """That claims are held against trials that are not the paper's, if so."""
    beside = findings.beside
    if beside.empty or beside["same_setting"].all():
        return ""
    return ". Not all of these trials are of the paper's setting; see below in what they differ"


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
            f". Not in the paper, and beside its {stand_in[1]} on {stand_in[0]}: "
            f"{', '.join(foreign)}; there, only signs and ranks mean anything"
        )
    yield build(
        "beside",
        PAPER,
        f"Test accuracy in %, ours and theirs ({paper}){note}",
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
        f"Where our training of the same network on the same dataset is not that of {paper}, "
        "so that a difference of accuracy need not be one of the methods",
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
        "Agreement on which cells are the better ones: Kendall's τ (1: the same order) over the "
        "cells of each of their tables that were run here",
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
        "To know of the paper's own tables: entries of its main tables that are not those of the "
        "appendix, and deviations of zero",
        oddities(findings.paper),
        {
            "table": "table",
            **FAMILY,
            "what": "kind",
            "main %": "main",
            "appendix %": "appendix",
        },
    )


def _cell_label(row: pd.Series) -> str:
    if row["cell"] != "best ρ0":
        return f"ρ0 = {rho0_label(row['rho0'])}"
    return "" if pd.isna(row["rho0"]) else f"best ρ0 (ours: {rho0_label(row['rho0'])})"
