"""KnobFindings: the tables of knobs that a report shows."""

from dataclasses import dataclass, field

import pandas as pd

from analysis.knob_effects.effects import knob_effects, knob_regrets
from analysis.knob_effects.interactions import interactions
from analysis.knob_effects.settings import knob_settings
from analysis.knob_effects.verdicts import knob_verdicts
from analysis.knobs.columns import knob_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.selection import Split
from analysis.statistics.verdicts import MARGIN


@dataclass(frozen=True)
class KnobFindings:
    """What is known of the knobs of a sweep; the tables hold values, and may be empty."""

    verdicts: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Whether each knob of each method can be left untuned [`verdicts.knob_verdicts`]."""
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    """How the test values depend on each knob [`effects.knob_effects`]."""
    regrets: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Cost of each value of a knob [`effects.knob_regrets`]."""
    interactions: pd.DataFrame = field(default_factory=pd.DataFrame)
    """How much the effect of a knob depends on another [`interactions.interactions`]."""


def knob_findings(
    table: pd.DataFrame,
    trials: pd.DataFrame,
    metric: Metric = ACCURACY,
    *,
    select_on: Split = "validation",
    margin: float = MARGIN,
) -> KnobFindings:
    """Compute the tables of knobs; they are empty if the trials name no knob.

    Without a column of `knobs.knob`, rho0 is the only knob, and the other tables of a report have
    all of it.

    Args:
        table: result of `aggregate.configurations`.
        trials: the trials behind it.
        metric: what they are compared by.
        select_on: split on which configurations are chosen.
        margin: see `metric.Metric.margin`.
    """
    if not any((trials[column] != "").any() for column in knob_columns(trials)):
        return KnobFindings()
    settings = knob_settings(table, trials, select_on)
    effects = _measured(knob_effects(settings, metric, margin=margin), metric)
    return KnobFindings(
        verdicts=knob_verdicts(effects, metric, margin=margin),
        effects=effects,
        regrets=metric.measured(knob_regrets(settings, metric)),
        interactions=metric.measured(interactions(settings, metric, margin=margin)),
    )


def _measured(effects: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The effects with values in place of scores; `low` and `high` are the range of a knob."""
    ends = [name for name in ("low", "high") if name in effects]
    return metric.measured(effects).assign(**{name: effects[name] for name in ends})
