"""Interactions of two knobs: whether the effect of one depends on the value of the other."""

from collections.abc import Hashable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.knob_effects.double_differences import interaction_of
from analysis.knob_effects.settings import KnobSettings
from analysis.knobs.knob import Knob
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import OPEN, completed
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.verdicts import MARGIN

Numbers = NDArray[Any]

_NO_RUN = (np.empty(0), np.empty(0))

INTERACTIONS: Mapping[str, str] = {
    "depends": "The interaction is significant (p < 0.05), and its size exceeds the margin: the "
    "knobs must be tuned together.",
    "unfinished": "Some trials have not finished or are absent, and the finished ones do not "
    "decide it yet.",
    "diverged": "A trial diverges at some pair of values, which the size does not tell: tune the "
    "knobs together, or leave such values out of their ranges.",
    "untested": "Some pair of values has fewer than two finished seeds, or no two seeds differ.",
    "none": "The upper limit of the size is within the margin: the knobs can be tuned one by one.",
    "mild": "The interaction is significant and within the margin, but its upper limit is not.",
    "noise": "The interaction is not significant, and its upper limit exceeds the margin. More "
    "seeds are needed for an answer.",
}
"""Verdict on two knobs, in the order of the rules -> the rule behind it."""

_COLUMNS = (
    "first",
    "second",
    "first_values",
    "second_values",
    "cells",
    "seeds",
    "diverged",
    "missing",
    "best",
    "size",
    "size_low",
    "size_high",
    "first_from",
    "first_to",
    "second_from",
    "second_to",
    "change",
    "other_change",
    "p",
    "p_corrected",
    "verdict",
)


def interactions(
    settings: KnobSettings, metric: Metric = ACCURACY, *, margin: float = MARGIN
) -> pd.DataFrame:
    """Interactions of all pairs of knobs, while the other knobs keep their chosen values.

    The size is that of the largest double difference: how much the effect of changing one knob
    changes with the other one. See `double_differences.interaction_of` for the test and the limits.
    Both are of COMPLETE trials only.

    Args:
        settings: the configurations, with their knobs.
        metric: what the trials are compared by.
        margin: size up to which an interaction does not matter; see `metric.Metric.margin`.

    Returns:
        One row for each method, set, setting and pair of knobs that have at least two values each
        in their ranges. The columns are the keys of `KnobSettings.families`, and
            first, second: names of the knobs.
            first_values, second_values: how many values they have.
            cells: number of pairs of values with at least two finished seeds.
            seeds: lowest number of finished seeds of a pair.
            diverged: number of trials that diverged.
            missing: number of trials that are failed, stopped, unfinished or absent.
            best: highest mean score.
            size, size_low, size_high: the largest double difference, and its 95 % limits.
            first_from, first_to, second_from, second_to: the values that it compares.
            change, other_change: change of the score from `first_from` to `first_to` at
                `second_from` and at `second_to`; their difference is the size.
            p, p_corrected: p value of no interaction, before and after the correction for the
                number of rows (Benjamini and Hochberg).
            verdict: a key of `INTERACTIONS`.
    """
    rows = [
        row
        for first, second in combinations(settings.knobs, 2)
        for row in _of_pair(settings, first, second, metric)
    ]
    found = pd.DataFrame(rows, columns=[*settings.families, *_COLUMNS])
    numbers = ["size", "size_low", "size_high", "change", "other_change", "p", "p_corrected"]
    found[numbers] = found[numbers].astype(float)
    tested = found["p"].notna()
    if tested.any():
        found.loc[tested, "p_corrected"] = stats.false_discovery_control(found.loc[tested, "p"])
    found["verdict"] = [
        _verdict(row, metric.margin(margin, row["best"])) for _, row in found.iterrows()
    ]
    return found


def _of_pair(
    settings: KnobSettings, first: Knob, second: Knob, metric: Metric
) -> list[dict[Hashable, Any]]:
    table, _ = settings.around_chosen([first, second])
    values = [settings.value(first), settings.value(second)]
    trials = completed(settings.trials)
    trials = trials[trials["configuration_id"].isin(table["configuration_id"])]
    ids, places = np.unique(trials["configuration_id"].to_numpy(str), return_inverse=True)
    seeds, scores = trials["seed"].to_numpy(), metric.scores(trials, "test").to_numpy(float)
    runs = {name: (seeds[places == at], scores[places == at]) for at, name in enumerate(ids)}
    rows: list[dict[Hashable, Any]] = []
    for key, part in table.groupby(settings.families, sort=False):
        if part[values].nunique().min() < 2:
            continue
        rows.append(
            {
                **dict(zip(settings.families, key, strict=True)),
                "first": first.name,
                "second": second.name,
                "diverged": part["diverged"].sum(),
                "missing": part[list(OPEN)].sum().sum(),
                "best": part["test_mean"].max(),
                **_row(part, runs, settings, first, second),
            }
        )
    return rows


def _row(
    part: pd.DataFrame,
    runs: Mapping[str, tuple[Numbers, Numbers]],
    settings: KnobSettings,
    first: Knob,
    second: Knob,
) -> dict[Hashable, Any]:
    """The numbers of one method, set and setting, from the seeds and scores of configurations."""
    grid, places = zip(
        *(
            np.unique(part[settings.value(knob)].to_numpy(float), return_inverse=True)
            for knob in (first, second)
        ),
        strict=True,
    )
    known = [runs.get(name, _NO_RUN) for name in part["configuration_id"]]
    seeds = np.unique(np.concatenate([own for own, _ in known]))
    scores = np.full((len(grid[0]), len(grid[1]), len(seeds)), np.nan)
    for row_place, column, (own, values) in zip(*places, known, strict=True):
        scores[row_place, column, np.searchsorted(seeds, own)] = values
    counts = (~np.isnan(scores)).sum(axis=2)
    row: dict[Hashable, Any] = {
        "first_values": len(grid[0]),
        "second_values": len(grid[1]),
        "cells": int((counts >= 2).sum()),
        "seeds": int(counts.min()),
    }
    if counts.min() < 2:
        return row
    found = interaction_of(scores)
    labels: list[dict[float, str]] = [
        dict(zip(part[settings.value(knob)], part[settings.label(knob)], strict=True))
        for knob in (first, second)
    ]
    return row | {
        "size": found.size,
        "size_low": found.size_low,
        "size_high": found.size_high,
        "first_from": labels[0][grid[0][found.first[0]]],
        "first_to": labels[0][grid[0][found.first[1]]],
        "second_from": labels[1][grid[1][found.second[0]]],
        "second_to": labels[1][grid[1][found.second[1]]],
        "change": found.change,
        "other_change": found.other_change,
        "p": found.p,
    }


def _verdict(row: pd.Series, margin: float) -> str:
    """The first rule of `INTERACTIONS` that applies."""
    is_significant = row["p_corrected"] < 1 - CONFIDENCE
    if is_significant and row["size"] > margin:
        return "depends"
    if row["missing"] > 0:
        return "unfinished"
    if row["diverged"] > 0:  # the finished trials may be those of which the effects add up
        return "diverged"
    if pd.isna(row["p"]):
        return "untested"
    if row["size_high"] <= margin:
        return "none"
    return "mild" if is_significant else "noise"
