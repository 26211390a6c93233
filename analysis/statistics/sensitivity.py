"""Sensitivity: how much the test score depends on rho0, compared with its noise over seeds."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.knobs.knob import Scale
from analysis.knobs.scales import places_on, span_of
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import (
    OPEN,
    ROUNDING,
    SETTING,
    family_keys,
    places_by,
    stacks_of,
)
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.regrets import probabilities_best, scores_by_rho0
from analysis.statistics.ties import rounding_between
from analysis.statistics.verdicts import MARGIN, collapsed, verdict_of

_NEAR = 1e-9

Floats = NDArray[np.float64]


def sensitivity(
    table: pd.DataFrame,
    trials: pd.DataFrame | None = None,
    metric: Metric = ACCURACY,
    *,
    margin: float = MARGIN,
    scale: Scale = "log",
) -> pd.DataFrame:
    """Sensitivity of the mean test score to rho0, for each method, set and setting.

    Whether rho0 has an effect is tested with a one-way analysis of variance; its p values are
    corrected for the number of rows (Benjamini and Hochberg). The upper limit of the range is that
    of Tukey's simultaneous 95 % confidence intervals of all differences (Tukey and Kramer's if some
    rho0 have fewer seeds). Both assume that the variance over seeds is the same at every rho0. That
    does not hold if some seeds collapse, so these are counted, see `verdicts.collapsed`.

    Args:
        table: result of `aggregate.configurations`, or published means and standard deviations in
            the same columns.
        trials: the trials behind the table, which `collapsed` and `p_best` need.
        metric: what the trials are compared by.
        margin: range up to which a method is stable; see `metric.Metric.margin`.
        scale: of the values in the column `rho0`, if they are those of another knob: a decade is
            then a unit on a linear scale, and what needs distances is missing on a nominal one.

    Returns:
        One row for each method, set and setting with at least two rho0 in its grid. Its columns are
        the keys of a configuration without rho0, further axes, and
            grid: number of rho0.
            choices: number of rho0 with a finished trial.
            diverged: number of trials that diverged.
            collapsed: number of trials that collapsed; missing without `trials`.
            missing: number of trials that are failed, stopped, unfinished or absent.
            absent: how many of these are absent, see `aggregate.configurations`.
            chance: score of guessing; missing if the table does not tell it.
            lowest_rho0, highest_rho0: ends of the finished grid.
            decades: log10(highest_rho0 / lowest_rho0).
            best_rho0, best, worst_rho0, worst: by mean test score.
            range: best - worst.
            relative_drop: range / abs(best).
            range_upper: upper limit of the range.
            slope: least-squares slope of the score on log10 rho0, per decade.
            p, p_corrected: p value of the analysis of variance, before and after the correction.
            p_best: probability over resampled seeds that best_rho0 is the best; missing without
                `trials`.
            verdict: a key of `verdicts.VERDICTS`; it holds for the rho0 that were tried.
            equal_span_decades: decades of the narrowest grid of all methods in the setting.
            equal_span_range: largest change of the score over any `equal_span_decades`, with linear
                interpolation in log10 rho0, so that grids of different widths can be compared.
    """
    keys = family_keys(table)
    probabilities = {} if trials is None else probabilities_best(trials, keys, metric)
    seeds = {} if trials is None else scores_by_rho0(trials, keys, metric)
    annealed = table[table["rho0"].notna()]
    family = annealed.groupby(keys, sort=False).ngroup().to_numpy()
    found = annealed[keys].drop_duplicates().reset_index(drop=True)
    found = found.assign(**_numbers(_columns(annealed, metric), family, metric, scale))
    found = found[found["grid"] > 1].reset_index(drop=True)
    fallen, p_best = [], []
    rows = found[[*keys, "best_rho0", "best"]].itertuples(index=False, name=None)
    for *key, best_rho0, best in rows:
        scores = list(seeds.get(tuple(key), {}).values())
        fallen.append(collapsed(scores, metric.margin(margin, best)) if scores else np.nan)
        p_best.append(probabilities.get(tuple(key), {}).get(best_rho0, np.nan))
    found = found.assign(collapsed=fallen, p_best=p_best)[[*keys, *_COLUMNS]]
    return _over_equal_spans(with_verdicts(found, metric, margin=margin), table, scale)


def with_verdicts(
    found: pd.DataFrame, metric: Metric = ACCURACY, *, margin: float = MARGIN
) -> pd.DataFrame:
    """Add `p_corrected`, for all rows together, and `verdict`, which depends on it.

    Args:
        found: result of `sensitivity`; its columns of these names are replaced.
        metric: what the trials are compared by.
        margin: see `sensitivity`.
    """
    found = found.copy()
    tested = found["p"].notna()
    found["p_corrected"] = np.nan
    if tested.any():
        found.loc[tested, "p_corrected"] = stats.false_discovery_control(found.loc[tested, "p"])
    found["verdict"] = [
        verdict_of(row, metric.margin(margin, row["best"])) for row in found.to_dict("records")
    ]
    return found


_COLUMNS = (
    "grid",
    "choices",
    "diverged",
    "collapsed",
    "missing",
    "absent",
    "chance",
    "lowest_rho0",
    "highest_rho0",
    "decades",
    "best_rho0",
    "best",
    "worst_rho0",
    "worst",
    "range",
    "relative_drop",
    "range_upper",
    "slope",
    "p",
    "p_best",
)


def _columns(table: pd.DataFrame, metric: Metric) -> dict[str, NDArray[Any]]:
    """The columns of configurations that `_numbers` needs."""
    guessing = metric.scores_of_guessing(table)
    return {
        **{name: table[name].to_numpy(float) for name in ("rho0", "test_mean", "test_std", "n")},
        "diverged": table["diverged"].to_numpy(),
        "missing": table[list(OPEN)].to_numpy().sum(axis=1),
        "absent": table["absent"].to_numpy(),
        "chance": np.full(len(table), np.nan) if guessing is None else guessing.to_numpy(float),
    }


def _numbers(
    columns: Mapping[str, NDArray[Any]],
    family: NDArray[np.integer[Any]],
    metric: Metric,
    scale: Scale,
) -> dict[str, NDArray[Any]]:
    """The numbers of each method, set and setting that need no trials.

    Args:
        columns: result of `_columns`.
        family: (rows,), number of the method, set and setting of each row.
        metric: what the trials are compared by.
        scale: of rho0.
    """
    number = family.max(initial=-1) + 1
    known = np.flatnonzero(~np.isnan(columns["chance"]))
    with_chance, first = np.unique(family[known], return_index=True)
    found = {name: np.full(number, np.nan) for name in _COLUMNS}
    found["chance"][with_chance] = columns["chance"][known[first]]
    for name in ("diverged", "missing", "absent"):
        found[name] = np.bincount(family, columns[name], minlength=number).astype(int)
    different = np.unique(np.column_stack([family, columns["rho0"]]), axis=0)
    found["grid"] = np.bincount(different[:, 0].astype(int), minlength=number)
    finished = np.flatnonzero(columns["n"] > 0)
    found["choices"] = np.bincount(family[finished], minlength=number)
    for stacked, places in stacks_of(family[finished]):
        part = {name: values[finished[places]] for name, values in columns.items()}
        for name, values in _of_finished(part, metric, scale).items():
            found[name][stacked] = values
    return found


def _of_finished(
    part: Mapping[str, NDArray[Any]], metric: Metric, scale: Scale
) -> dict[str, Floats]:
    """The numbers of some methods, sets and settings with equally many finished rho0.

    Args:
        part: `_columns` of the finished rho0, each (families, choices).
        metric: what the trials are compared by.
        scale: of rho0.
    """
    rho0, mean, std, n = (part[name] for name in ("rho0", "test_mean", "test_std", "n"))
    families = np.arange(len(mean))
    best, worst = (families, mean.argmax(axis=1)), (families, mean.argmin(axis=1))
    range_ = mean[best] - mean[worst]
    p, half_width = _tests_of_ranges(mean, std, n)
    size = np.where(mean[best] == 0, np.nan, np.abs(mean[best]))
    return {
        "lowest_rho0": rho0.min(axis=1),
        "highest_rho0": rho0.max(axis=1),
        "decades": span_of(rho0, scale),
        "best_rho0": rho0[best],
        "best": mean[best],
        "worst_rho0": rho0[worst],
        "worst": mean[worst],
        "range": range_,
        "relative_drop": range_ / size,
        "range_upper": np.minimum(range_ + half_width, metric.span),
        "slope": slopes_of(places_on(rho0, scale), mean, n),
        "p": p,
    }


def _over_equal_spans(found: pd.DataFrame, table: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Add `equal_span_decades` and `equal_span_range`."""
    keys = family_keys(table)
    finished = table[table["n"] > 0]
    finished = finished.assign(place=places_on(finished["rho0"].to_numpy(float), scale))
    finished = finished[finished["place"].notna()]
    place, mean = (finished[name].to_numpy(float) for name in ("place", "test_mean"))
    curves = {key: (place[rows], mean[rows]) for key, rows in places_by(finished, keys)}
    spans = found["decades"].where(found["decades"] > 0)
    spans = spans.groupby([found[key] for key in SETTING]).transform("min")
    ranges = [
        np.nan if np.isnan(span) or key not in curves else range_within(*curves[key], span)
        for key, span in zip(found[keys].itertuples(index=False, name=None), spans, strict=True)
    ]
    return found.assign(equal_span_decades=spans, equal_span_range=ranges)


def range_within(places: Floats, heights: Floats, span: float) -> float:
    """Largest difference of a piecewise linear function between points at most `span` apart.

    The maximum is reached with both points at knots, or one at a knot and the other `span` away.

    Args:
        places: (knots,), in any order.
        heights: (knots,), values at the knots.
        span: >= 0, in the unit of the places.
    """
    order = np.argsort(places)
    places, heights = places[order], heights[order]
    others = np.concatenate([places, places - span, places + span]).clip(places[0], places[-1])
    near = np.abs(places[:, None] - others) <= span * (1 + _NEAR)
    differences = np.abs(heights[:, None] - np.interp(others, places, heights))
    return float(differences[near].max())


def slopes_of(places: Floats, mean: Floats, n: Floats) -> Floats:
    """Least-squares slopes of the score on the places of a knob, each seed with equal weight.

    Args:
        places: (families, choices), on the scale of the knob, such as log10 rho0; NaN for a choice
            that has no place and so no part in the slope.
        mean: (families, choices), mean score over the seeds of each choice.
        n: (families, choices), number of seeds of each choice.

    Returns:
        (families,), such as slopes per decade; NaN for fewer than two different places.
    """
    has_place = ~np.isnan(places)
    weights = np.where(has_place, n, 0.0)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    places, mean = np.where(has_place, places, 0.0), np.where(has_place, mean, 0.0)
    places = places - (weights * places).sum(axis=1, keepdims=True) / total
    mean = mean - (weights * mean).sum(axis=1, keepdims=True) / total
    lowest = np.where(has_place, places, np.inf).min(axis=1)
    highest = np.where(has_place, places, -np.inf).max(axis=1)
    slopes = np.full(len(places), np.nan)
    products, squares = ((weights * places * other).sum(axis=1) for other in (mean, places))
    np.divide(products, squares, out=slopes, where=highest > lowest)
    return slopes


def _tests_of_ranges(mean: Floats, std: Floats, n: Floats) -> tuple[Floats, Floats]:
    """P values of analyses of variance, and half the widths of Tukey's intervals of the ranges.

    Both are computed from means, standard deviations and counts, as published tables have no more.
    They are NaN if some rho0 has fewer than two seeds, or if means differ but no two seeds do.

    Args:
        mean: (families, choices).
        std: (families, choices).
        n: (families, choices).
    """
    choices = mean.shape[1]
    p, half_widths = np.full((2, len(mean)), np.nan)
    known = np.flatnonzero((n >= 2).all(axis=1)) if choices > 1 else np.arange(0)
    mean, std, n = mean[known], std[known], n[known]
    best = np.arange(len(known)), mean.argmax(axis=1)
    worst = np.arange(len(known)), mean.argmin(axis=1)
    is_constant = (std <= ROUNDING * np.abs(mean)).all(axis=1)  # such as networks all at chance
    is_same = mean[best] - mean[worst] <= rounding_between(mean[best], mean[worst])
    equal = known[is_constant & is_same]
    p[equal], half_widths[equal] = 1.0, 0.0
    degrees = (n - 1).sum(axis=1)
    average = (n * mean).sum(axis=1) / n.sum(axis=1)
    between = (n * (mean - average[:, None]) ** 2).sum(axis=1)
    variance = ((n - 1) * std**2).sum(axis=1) / degrees
    widths = np.sqrt(variance / 2 * (1 / n[best] + 1 / n[worst]))
    tested = np.flatnonzero(~is_constant)
    quantiles = [_studentized(choices, own) for own in degrees[tested].tolist()]
    half_widths[known[tested]] = np.array(quantiles) * widths[tested]
    ratio = between[tested] / (choices - 1) / variance[tested]
    p[known[tested]] = stats.f.sf(ratio, choices - 1, degrees[tested])
    return p, half_widths


@cache
def _studentized(choices: int, degrees: float) -> float:
    return float(stats.studentized_range.ppf(CONFIDENCE, choices, degrees))
