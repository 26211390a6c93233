"""Measurements -> findings: every table that the report, its figures and its files are made of."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import pandas as pd

from analysis.claims import CLAIMS, evaluate_claims
from analysis.protocol import recipe_of, training
from analysis.published import rank_agreement, side_by_side, training_beside
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING, axis_columns, configurations, family_keys
from analysis.statistics.comparison import compare_methods, with_leaders
from analysis.statistics.selection import Split, optimism, select
from analysis.statistics.sensitivity import MARGIN, method_verdicts, regrets, sensitivity
from analysis.statistics.variance import variance_split


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What follows from some trials; the function in brackets tells a table's rows and columns."""

    configurations: pd.DataFrame
    """[`aggregate.configurations`]; those that lead over rho0 [`comparison.with_leaders`]."""
    selected: pd.DataFrame
    """Each method at its best rho0 [`selection.select`]; methods that lead on their set."""
    verdicts: pd.DataFrame
    """May a method's rho0 be left untuned? [`sensitivity.method_verdicts`]"""
    sensitivity: pd.DataFrame
    """[`sensitivity.sensitivity`]"""
    regrets: pd.DataFrame
    """[`sensitivity.regrets`]"""
    variance: pd.DataFrame
    """[`variance.variance_split`]"""
    variance_by_method: pd.DataFrame
    """[`variance.variance_split`]"""
    optimism: pd.DataFrame
    """[`selection.optimism`]"""
    comparisons: pd.DataFrame
    """[`comparison.compare_methods`]"""
    beside: pd.DataFrame
    """Ours and the paper's [`published.side_by_side`]; empty without a paper."""
    ranks: pd.DataFrame
    """[`published.rank_agreement`]"""
    training: pd.DataFrame
    """How each method was trained [`protocol.training`]."""
    training_beside: pd.DataFrame
    """Where that differs from a paper's training [`published.training_beside`]."""
    claims: pd.DataFrame
    """[`claims.evaluate_claims`]"""
    select: Split
    """What rho0 was to be chosen on; a row's `chosen_on` says on what it was."""
    paper: str | None
    margin: float

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Name and content of each, for files; empty ones are left out."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, pd.DataFrame) and not value.empty:
                yield field.name, value


def analyse(
    measurements: Measurements,
    *,
    select_on: Split = "validation",
    paper: str | None = None,
    margin: float = MARGIN,
) -> Findings:
    """Everything that follows from the trials, finished or not.

    Args:
        measurements: see there.
        select_on: choose rho0 by validation accuracy, or by test accuracy as the papers do.
        paper: a key of `published.PAPERS`, to compare with.
        margin: how much a method may lose by its rho0 and be called stable, as a fraction.

    Raises:
        UnknownPaperError: there are no numbers of such a paper.
    """
    trials = measurements.trials
    table = configurations(trials)
    for column in ("bits", "network_bits", "classes"):
        if column in trials:
            values = trials.groupby("configuration_id")[column].first()
            table[column] = table["configuration_id"].map(values)
    table = with_leaders(table, trials, family_keys(table))
    selected = select(table, select_on)
    quantized = selected[selected["set"] != ""]
    leaders = with_leaders(quantized, trials, [*SETTING, "set", *axis_columns(table)])["leads"]
    selected["leads"] = leaders.reindex(selected.index, fill_value=False)
    found = sensitivity(table, trials, margin=margin)
    first = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    recipes = {configuration: recipe_of(row) for configuration, row in first.iterrows()}
    beside = pd.DataFrame() if paper is None else side_by_side(selected, table, paper, recipes)
    return Findings(
        configurations=table,
        selected=selected,
        verdicts=method_verdicts(found, margin=margin),
        sensitivity=found,
        regrets=regrets(table, trials),
        variance=variance_split(trials),
        variance_by_method=variance_split(trials, by_method=True),
        optimism=optimism(trials),
        comparisons=compare_methods(selected, trials),
        beside=beside,
        ranks=pd.DataFrame() if beside.empty else rank_agreement(beside),
        training=training(trials),
        training_beside=pd.DataFrame()
        if paper is None
        else training_beside(beside, selected, paper, recipes),
        claims=evaluate_claims(CLAIMS.get(paper or "", ()), selected, table),
        select=select_on,
        paper=paper,
        margin=margin,
    )
