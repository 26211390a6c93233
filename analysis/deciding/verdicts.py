"""Verdicts of the looks at a sweep that is run until decided, for its table of sensitivity."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.columns import ADDED
from analysis.deciding.decisions import UNFINISHED, Decision
from analysis.deciding.questions import RANGE
from analysis.metric import Metric
from analysis.statistics.aggregate import family_keys
from analysis.statistics.verdicts import FAILS
from analysis.statistics.verdicts import rules as rules_of_one_look

_RULES = {
    "sensitive": "At some ρ0 a trial diverges or collapses, or the whole interval of the range "
    "over ρ0 exceeds the margin.",
    "untested": "All seeds have the same differences between ρ0, or only one ρ0 was tried, so that "
    "the range has no interval.",
    "noise": "The interval of the range holds 0 and the margin. More seeds are needed for an "
    "answer.",
    "mild": "The interval of the range holds the margin, but not 0.",
    "stable": "No part of the interval of the range exceeds the margin.",
}
"""Verdict -> its rule, if it differs from that of `statistics.verdicts.VERDICTS`."""


def rules(metric: Metric) -> dict[str, str]:
    """The rule behind each verdict, for the trials of a metric."""
    first = ("sensitive", UNFINISHED, FAILS)
    known = {**rules_of_one_look(metric), **_RULES}
    order = (*first, "untested", "stable", "mild", "noise")
    return {verdict: known[verdict] for verdict in order}


def trials_of_looks(trials: pd.DataFrame, found: Sequence[Decision]) -> pd.DataFrame:
    """The trials that answer the questions on rho0: without those that comparisons have added.

    Args:
        trials: the trials behind the decisions.
        found: result of `decisions.decisions`.
    """
    used = {
        (configuration, seed)
        for one in found
        if one.question.kind == RANGE
        for configuration in one.question.configurations
        for seed in one.question.seeds[: one.seeds]
    }
    keys = trials[["configuration_id", "seed"]].itertuples(index=False, name=None)
    of_looks = np.fromiter((key in used for key in keys), bool, len(trials))
    return trials[(trials[ADDED] == "") | of_looks]


def with_verdicts(sensitivity: pd.DataFrame, found: Sequence[Decision]) -> pd.DataFrame:
    """Put the verdicts of the looks, and the upper limits, into the table of sensitivity.

    P values are removed, as they do not hold for somebody who looks more than once. Rows without a
    look stay as they are.

    Args:
        sensitivity: result of `sensitivity.sensitivity`.
        found: result of `decisions.decisions`.
    """
    looked_at = [one for one in found if one.question.kind == RANGE and one.seeds]
    keys = family_keys(sensitivity)
    by_key: Mapping[tuple[Hashable, ...], Decision] = {
        tuple({**one.question.where, "method": one.question.methods[0]}[name] for name in keys): one
        for one in looked_at
    }
    rows = [by_key.get(key) for key in sensitivity[keys].itertuples(index=False, name=None)]
    has_look = np.array([row is not None for row in rows], dtype=bool)
    verdicts = [row.answer for row in rows if row is not None]
    limits = [row.high for row in rows if row is not None]
    sensitivity = sensitivity.copy()
    sensitivity.loc[has_look, "verdict"] = verdicts
    sensitivity.loc[has_look, "range_upper"] = limits
    sensitivity.loc[has_look, ["p", "p_corrected"]] = np.nan
    return sensitivity
