"""Verdicts: whether a method's rho0 can be left untuned, and which of its trials have collapsed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.metric import Metric
from analysis.statistics.intervals import CONFIDENCE

Floats = NDArray[np.float64]

MARGIN = 0.03
"""Loss by a bad rho0 up to which a method is stable: a share, see `metric.Metric.margin`."""
COLLAPSE = 10
"""A trial has collapsed if it lies this many margins below all seeds of the best rho0, and so low
that their noise does not explain it, see `collapse_below`."""
FAILS = "fails"
"""The verdict if no rho0 works."""
NO_RHO0 = "no ρ0"
"""What stands in place of a verdict on a method without rho0, unless it fails."""
VERDICTS: Mapping[str, str] = {
    "sensitive": f"At some ρ0 a trial diverges or collapses ({COLLAPSE} margins worse than all "
    "seeds of the best ρ0, and beyond their noise), or the range over ρ0 exceeds the margin and is "
    "significant (p < 0.05).",
    "unfinished": "Some trials have not finished or are absent, and the finished ones do not "
    "decide it yet.",
    FAILS: "No ρ0 that was tried works: no mean {label} is clearly {above} chance, or all "
    "trials diverge.",
    "untested": "Some ρ0 has fewer than two finished seeds, no two seeds differ, or only one ρ0 "
    "was tried, so that the range cannot be tested.",
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


def collapse_below(best: Floats, margin: ArrayLike, error_rate: ArrayLike) -> Floats:
    """Score below which a trial has collapsed.

    That is `COLLAPSE` margins below all seeds of the best rho0, and below the prediction
    limit of Student's t for a further seed of it: if the noise is many margins, a trial lies so low
    by chance alone. A single seed has no noise that is known, so that the margins decide alone.

    Args:
        best: (questions, seeds), scores of the best rho0.
        margin: range up to which a method is stable, (questions,) or a number.
        error_rate: probability that a trial with the noise of the best rho0 is below the limit.
    """
    seeds = best.shape[1]
    floor: Floats = best.min(axis=1) - COLLAPSE * np.asarray(margin, float)
    if seeds < 2:
        return floor
    quantile = stats.t.isf(error_rate, seeds - 1) * np.sqrt(1 + 1 / seeds)
    predicted = best.mean(axis=1) - quantile * best.std(axis=1, ddof=1)
    found: Floats = np.minimum(floor, predicted)
    return found


def collapsed(scores: Sequence[Floats], margin: float) -> int:
    """Number of the trials of a method, on one set and in one setting, that have collapsed.

    The best rho0 is that with the highest mean of those with at least two seeds, if there is any.
    The probability that noise alone makes a trial collapse is about half of 5 % for all trials
    together: as the best rho0 is the best also by chance, it is somewhat larger for many seeds.

    Args:
        scores: those of the seeds of each rho0; no rho0 without a seed.
        margin: as a difference of scores.
    """
    several = [own for own in scores if len(own) > 1] or scores
    best = max(several, key=lambda own: float(own.mean()))
    together = np.concatenate(scores)
    if together.min() >= best.min() - COLLAPSE * margin:  # as most often; the quantile takes long
        return 0
    others = len(together) - len(best)
    (floor,) = collapse_below(best[None], margin, (1 - CONFIDENCE) / 2 / others)
    return int((together < floor).sum())
