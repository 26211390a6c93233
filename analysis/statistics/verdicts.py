"""Verdicts: whether a method's rho0 can be left untuned."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.metric import Metric
from analysis.statistics.intervals import CONFIDENCE

MARGIN = 0.03
"""Loss by a bad rho0 up to which a method is stable: a share, see `metric.Metric.margin`."""
COLLAPSE = 10
"""A trial has collapsed if it lies this many margins below all seeds of the best rho0."""
FAILS = "fails"
"""The verdict if no rho0 works."""
NO_RHO0 = "no ρ0"
"""What stands in place of a verdict on a method without rho0, unless it fails."""
VERDICTS: Mapping[str, str] = {
    "sensitive": "At some ρ0 a trial diverges or collapses, or the range over ρ0 exceeds the "
    "margin and is significant (p < 0.05).",
    "unfinished": "Some trials have not finished or are absent, and the finished ones do not "
    "decide it yet.",
    FAILS: "No ρ0 that was tried works: no mean {label} is clearly {above} chance, or all "
    "trials diverge.",
    "untested": "Some ρ0 has fewer than two finished seeds, or no two seeds differ, so that the "
    "range cannot be tested.",
    "noise": "The range is not significant, and its upper limit exceeds the margin. More seeds are "
    "needed for an answer.",
    "mild": "The range is significant and within the margin, but its upper limit exceeds the "
    "margin.",
    "stable": "The upper limit of the range is within the margin.",
}
"""Verdict, in the order of the rules -> the rule behind it, see `verdict_of`; `rules` fills in
the words of a metric."""


def rules(metric: Metric) -> dict[str, str]:
    """The rule behind each verdict, for the trials of a metric."""
    words = {"label": metric.label, "above": metric.above}
    return {verdict: rule.format(**words) for verdict, rule in VERDICTS.items()}


def verdict_of(row: Mapping[Any, Any], margin: float) -> str:
    """The verdict on one method, set and setting: the first rule of `VERDICTS` that applies.

    Args:
        row: of `sensitivity.sensitivity`, without its verdict.
        margin: as a difference of scores.
    """
    p, range_, upper = row["p_corrected"], row["range"], row["range_upper"]
    is_significant = p < 1 - CONFIDENCE
    if row["choices"] == 0:
        return "unfinished" if row["missing"] > 0 else FAILS
    if row["diverged"] > 0 or row["collapsed"] > 0 or (is_significant and range_ > margin):
        return "sensitive"
    if row["missing"] > 0:
        return "unfinished"
    if is_chance(row["best"], row["chance"], margin):
        return FAILS
    if np.isnan(p):
        return "untested"
    if upper <= margin:
        return "stable"
    return "mild" if is_significant else "noise"


def is_chance(best: float, chance: float, margin: float) -> bool:
    """Whether a score is not clearly above that of guessing; False if the latter is missing.

    Args:
        best: mean score.
        chance: score of guessing.
        margin: as a difference of scores.
    """
    return best - chance <= min(margin, abs(chance))
