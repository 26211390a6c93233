"""Findings: every table of numbers that a report shows, computed from its measurements."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import pandas as pd

from analysis.across_settings.across_settings import across_settings
from analysis.across_settings.tasks import scores_of
from analysis.claims import CLAIMS, evaluate_claims
from analysis.columns import ADDED, axis_columns
from analysis.deciding.decisions import decisions
from analysis.deciding.frames import added_frame, decisions_frame
from analysis.deciding.verdicts import trials_of_looks, with_verdicts
from analysis.knob_effects.knob_findings import knob_findings
from analysis.metric import ACCURACY, Metric
from analysis.protocol import recipes_of, training
from analysis.published import (
    NotAccuracyError,
    rank_agreement,
    side_by_side,
    training_beside,
)
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING, configurations, family_keys, without_tuned
from analysis.statistics.comparison import compare_methods, with_leaders
from analysis.statistics.method_verdicts import method_verdicts
from analysis.statistics.regrets import regrets
from analysis.statistics.selection import Split, optimism, select
from analysis.statistics.sensitivity import sensitivity
from analysis.statistics.variance import variance_split
from analysis.statistics.verdicts import MARGIN
from analysis.tuning_cost.budgets import best_of_budgets
from analysis.tuning_cost.curves import curves_of, tuning_cost

SIZES = ("bits", "network_bits", "file_bytes", "code_bits", "compression")
"""Columns of trials that tell how large a network is, the same for all seeds."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of an analysis; the function in brackets documents a table's rows and columns.

    The tables have values of the metric where these functions return scores.
    """

    configurations: pd.DataFrame
    """All configurations [`aggregate.configurations`]; `leads` and `wins` mark the leading rho0 of
    each method [`comparison.with_leaders`]."""
    selected: pd.DataFrame
    """Each method at its selected rho0 [`selection.select`]; `leads` and `wins` mark the leading
    methods of each set [`comparison.with_leaders`]."""
    verdicts: pd.DataFrame
    """Whether each method's rho0 can be left untuned [`method_verdicts.method_verdicts`]."""
    sensitivity: pd.DataFrame
    """How the test values depend on rho0 [`sensitivity.sensitivity`]."""
    regrets: pd.DataFrame
    """Cost of each choice of rho0 [`regrets.regrets`]."""
    knob_verdicts: pd.DataFrame
    """Whether each knob of each method can be left untuned [`knob_effects.verdicts.knob_verdicts`];
    empty, as the next three tables are, if the table of trials names no knobs but rho0."""
    knobs: pd.DataFrame
    """How the test values depend on each knob [`knob_effects.effects.knob_effects`]."""
    knob_regrets: pd.DataFrame
    """Cost of each value of a knob [`knob_effects.effects.knob_regrets`]."""
    interactions: pd.DataFrame
    """How much the effect of a knob depends on another one
    [`knob_effects.interactions.interactions`]."""
    variance: pd.DataFrame
    """Sources of variance in each setting [`variance.variance_split`]."""
    variance_by_method: pd.DataFrame
    """Sources of variance of each method [`variance.variance_split`]."""
    optimism: pd.DataFrame
    """Bias of a choice of rho0 on test images [`selection.optimism`]."""
    comparisons: pd.DataFrame
    """Pairs of methods [`comparison.compare_methods`]."""
    tuning_cost: pd.DataFrame
    """What each method yields after a number of tries [`tuning_cost.curves.tuning_cost`]."""
    tuning_budgets: pd.DataFrame
    """The best methods of a number of tries [`tuning_cost.budgets.best_of_budgets`]."""
    across_settings: pd.DataFrame
    """Each method over all tasks [`across_settings.AcrossSettings.across`]; empty for fewer than
    two methods or tasks."""
    performance_profiles: pd.DataFrame
    """Share of runs above each threshold [`across_settings.AcrossSettings.profiles`]."""
    task_improvements: pd.DataFrame
    """Pairs of methods over all tasks [`across_settings.AcrossSettings.improvements`]."""
    tasks: pd.DataFrame
    """The tasks, and whether methods were compared over them [`tasks.Scores.tasks`]."""
    left_out: tuple[str, ...]
    """Methods that are not compared over tasks [`tasks.Scores.left_out`]."""
    beside: pd.DataFrame
    """Our accuracies beside a paper's [`published.side_by_side`]; empty without a paper."""
    ranks: pd.DataFrame
    """Agreement with the paper on the order of cells [`published.rank_agreement`]."""
    training: pd.DataFrame
    """How each method was trained [`protocol.training`]."""
    training_beside: pd.DataFrame
    """Differences from the paper's training [`published.training_beside`]."""
    claims: pd.DataFrame
    """The paper's claims [`claims.evaluate_claims`]."""
    decisions: pd.DataFrame
    """The questions of a sweep that is run until they are decided [`deciding.frames`]."""
    added: pd.DataFrame
    """The trials that were added to it [`deciding.frames`]."""
    paper: str | None
    """A key of `published.PAPERS`, or None for no comparison."""
    margin: float
    """Margin of the verdicts; see `metric.Metric.margin`."""
    metric: Metric
    """What the trials are compared by."""

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Name and content of each table that has rows."""
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
    """Compute every table of a report; trials that have not finished are counted, too.

    Args:
        measurements: the trials, and whatever else was measured.
        select_on: split on which rho0 is chosen: validation, or test as in the papers.
        paper: a key of `published.PAPERS` to compare with; None for no comparison.
        margin: range over rho0 up to which a method is stable; see `metric.Metric.margin`.

    Raises:
        UnknownPaperError: `paper` is not a key of `published.PAPERS`.
        NotAccuracyError: there is a paper, but the trials have no accuracies to compare with it.
    """
    trials, metric = measurements.trials, measurements.metric
    if paper is not None and metric.name != ACCURACY.name:
        raise NotAccuracyError(
            f"the numbers of a paper are accuracies; trials that are compared by their "
            f"{metric.label} cannot stand beside them"
        )
    table = _configurations(trials, metric)
    table = with_leaders(table, trials, family_keys(table), metric)
    selected = select(table, select_on)
    quantized = selected[selected["set"] != ""]
    leaders = with_leaders(quantized, trials, [*SETTING, "set", *axis_columns(table)], metric)
    for mark in ("leads", "wins"):
        selected[mark] = leaders[mark].reindex(selected.index, fill_value=False)
    untuned = without_tuned(table, trials)
    at_best = selected if untuned is table else select(untuned, select_on)
    scores = scores_of(at_best, trials, metric, margin=margin)
    over_tasks = across_settings(scores)
    curves = curves_of(table, trials, metric, select_on)
    is_decided = ADDED in trials
    decided = decisions(trials, metric, margin=margin) if is_decided else []
    of_looks = trials_of_looks(trials, decided) if is_decided else trials
    of_rho0 = _configurations(of_looks, metric) if len(of_looks) < len(trials) else table
    found = sensitivity(of_rho0, of_looks, metric, margin=margin)
    found = metric.measured(with_verdicts(found, decided) if is_decided else found)
    first = trials.drop_duplicates("configuration_id").set_index("configuration_id")
    recipes = dict(zip(first.index, recipes_of(first), strict=True))
    beside = pd.DataFrame() if paper is None else side_by_side(selected, table, paper, recipes)
    measured = metric.measured(table)
    planned = trials[trials[ADDED] == ""] if is_decided else trials  # no look has chosen these
    of_planned = _configurations(planned, metric) if len(planned) < len(trials) else table
    of_knobs = knob_findings(of_planned, planned, metric, select_on=select_on, margin=margin)
    return Findings(
        configurations=measured,
        selected=metric.measured(selected),
        verdicts=method_verdicts(found, metric, table=measured, margin=margin),
        sensitivity=found,
        regrets=metric.measured(regrets(table, trials, metric)),
        knob_verdicts=of_knobs.verdicts,
        knobs=of_knobs.effects,
        knob_regrets=of_knobs.regrets,
        interactions=of_knobs.interactions,
        variance=variance_split(trials, metric),
        variance_by_method=variance_split(trials, metric, by_method=True),
        optimism=metric.measured(optimism(trials, metric)),
        comparisons=metric.measured(compare_methods(selected, trials, metric)),
        tuning_cost=metric.measured(tuning_cost(curves)),
        tuning_budgets=metric.measured(best_of_budgets(curves)),
        across_settings=over_tasks.across,
        performance_profiles=over_tasks.profiles,
        task_improvements=over_tasks.improvements,
        tasks=pd.DataFrame() if over_tasks.across.empty else metric.measured(scores.tasks),
        left_out=scores.left_out,
        beside=beside,
        ranks=pd.DataFrame() if beside.empty else rank_agreement(beside),
        training=training(trials),
        training_beside=pd.DataFrame()
        if paper is None
        else training_beside(beside, selected, paper, recipes),
        claims=evaluate_claims(CLAIMS.get(paper or "", ()), selected, table),
        decisions=decisions_frame(decided, trials, metric),
        added=added_frame(trials) if is_decided else pd.DataFrame(),
        paper=paper,
        margin=margin,
        metric=metric,
    )


def _configurations(trials: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The configurations, with the size of each network and the score of guessing."""
    table = configurations(trials, metric)
    for column in (*SIZES, "classes", "chance"):
        if column in trials:
            values = trials.groupby("configuration_id")[column].first()
            table[column] = table["configuration_id"].map(values)
    if "chance" in table:
        table["chance"] *= metric.sign
    return table
