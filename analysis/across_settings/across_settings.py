"""Tables of methods over several tasks: aggregates, profiles, probabilities and ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.across_settings.measures import (
    Floats,
    improvement,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    resamples,
)
from analysis.across_settings.ranks import ranks
from analysis.across_settings.tasks import NONE, Scores
from analysis.statistics.intervals import CONFIDENCE, NUM_RESAMPLES

MEASURES = {
    "iqm": interquartile_mean,
    "median": median,
    "mean": mean,
    "optimality_gap": optimality_gap,
}
"""Column -> function of the scores."""
ALL_PAIRS = 12
"""Up to this number of methods, all pairs are compared, and otherwise all with the best one."""

_FEWEST_METHODS, _FEWEST_TASKS = 2, 2
_THRESHOLDS = 101
_SEED = 20212


@dataclass(frozen=True)
class AcrossSettings:
    """Methods over the tasks that all of them have; empty for fewer than two methods or tasks."""

    across: pd.DataFrame
    """One row for each method, in the order of the trials, with the columns
        method: its name.
        variant: its name with its values of further axes, which are compared as methods.
        tasks, runs: number of tasks, and of runs on each of them.
        scale: see `tasks.Scores.scale`.
        iqm, median, mean, optimality_gap: see `measures`; missing if scores are not comparable.
        iqm_low, iqm_high, ...: their 95 % intervals by the stratified bootstrap: the runs of each
            task are resampled, and the tasks are not.
        rank, critical, friedman: mean rank over tasks of the mean scores, its critical difference,
            and the p value of Friedman's test; see `ranks.Ranks`.
    """
    profiles: pd.DataFrame
    """Share of runs above each threshold: the columns method, variant,
    threshold, share, share_low, share_high."""
    improvements: pd.DataFrame
    """Pairs of methods, of which the first has the better mean rank: the columns variant, other,
    improvement (see `measures.improvement`), improvement_low, improvement_high."""


def across_settings(scores: Scores) -> AcrossSettings:
    """Compare methods over tasks.

    Args:
        scores: result of `tasks.scores_of`.
    """
    variants = scores.variants
    if len(variants) < _FEWEST_METHODS or scores.tasks["compared"].sum() < _FEWEST_TASKS:
        return AcrossSettings(pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
    rng = np.random.default_rng(_SEED)
    drawn = {
        name: resamples(rng.integers(len(own), size=(NUM_RESAMPLES, *own.shape)))
        for name, own in variants.items()
    }
    comparable = scores.scale != NONE
    rows = pd.DataFrame(
        [
            {
                "method": scores.methods[name],
                "variant": name,
                "tasks": own.shape[1],
                "runs": len(own),
                "scale": scores.scale,
                **(_aggregates(own, drawn[name]) if comparable else {}),
            }
            for name, own in variants.items()
        ]
    )
    means = np.array([own.mean(axis=0) for own in variants.values()])
    ranked = ranks(means, is_scaled=comparable)
    rows = rows.assign(rank=ranked.mean, critical=ranked.critical, friedman=ranked.p)
    best_first = [list(variants)[place] for place in np.argsort(ranked.mean, kind="stable")]
    profiles = _profiles(scores, drawn) if comparable else pd.DataFrame()
    return AcrossSettings(rows, profiles, _improvements(variants, drawn, best_first))


def _aggregates(scores: Floats, drawn: Floats) -> dict[str, float]:
    once = np.ones((1, *scores.shape))
    of_resamples = np.column_stack([measure(scores, drawn) for measure in MEASURES.values()])
    values: dict[str, float] = {}
    for name, low, high in zip(MEASURES, *percentile_interval(of_resamples), strict=True):
        own = float(MEASURES[name](scores, once)[0])
        values |= {name: own, f"{name}_low": float(low), f"{name}_high": float(high)}
    return values


def percentile_interval(values: Floats) -> tuple[Floats, Floats]:
    """The percentile interval of a bootstrap.

    Args:
        values: (resamples, ...), a measure of each resample.
    """
    ends = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    low, high = np.quantile(values, ends, axis=0)
    return low, high


def _profiles(scores: Scores, drawn: Mapping[str, Floats]) -> pd.DataFrame:
    lowest = min(float(own.min()) for own in scores.variants.values())
    highest = max(float(own.max()) for own in scores.variants.values())
    thresholds = np.linspace(min(lowest, 0.0), max(highest, 1.0), _THRESHOLDS)
    found = []
    for name, own in scores.variants.items():
        # Thresholds between the same two scores have the same share.
        below = np.searchsorted(np.sort(own, axis=None), thresholds, side="right")
        _, first, same = np.unique(below, return_index=True, return_inverse=True)
        of_first = thresholds[first]
        (share,) = performance_profile(own, np.ones((1, *own.shape)), of_first)
        low, high = percentile_interval(performance_profile(own, drawn[name], of_first))
        found.append(np.array([share, low, high])[:, same])
    names = list(scores.variants)
    columns = {
        "method": np.repeat([scores.methods[name] for name in names], _THRESHOLDS),
        "variant": np.repeat(names, _THRESHOLDS),
        "threshold": np.tile(thresholds, len(names)),
    }
    shares = zip(("share", "share_low", "share_high"), np.hstack(found), strict=True)
    return pd.DataFrame({**columns, **dict(shares)})


def _improvements(
    variants: Mapping[str, Floats], drawn: Mapping[str, Floats], best_first: Sequence[str]
) -> pd.DataFrame:
    pairs = list(combinations(best_first, 2))
    if len(variants) > ALL_PAIRS:
        pairs = [pair for pair in pairs if pair[0] == best_first[0]]
    rows = []
    for first, second in pairs:
        own, others = variants[first], variants[second]
        once = np.ones((1, *own.shape)), np.ones((1, *others.shape))
        low, high = percentile_interval(improvement(own, others, drawn[first], drawn[second]))
        (probability,) = improvement(own, others, *once)
        rows.append(
            {
                "variant": first,
                "other": second,
                "improvement": probability,
                "improvement_low": low,
                "improvement_high": high,
            }
        )
    return pd.DataFrame(rows)
