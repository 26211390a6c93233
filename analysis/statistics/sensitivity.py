"""Sensitivity: how much the test score depends on rho0, compared with its noise over seeds."""

from collections.abc import Hashable, Mapping
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
    first_known,
    places_by,
)
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.regrets import probabilities_best, scores_by_rho0
from analysis.statistics.ties import rounding_between
from analysis.statistics.verdicts import MARGIN, collapsed, verdict_of

_ROUNDING = 1e-9

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
    rows: list[dict[Hashable, Any]] = []
    annealed = table[table["rho0"].notna()]
    columns = _numbers_of(annealed, metric)
    for key, places in places_by(annealed, keys):
        part = {name: values[places] for name, values in columns.items()}
        if len(np.unique(part["rho0"])) < 2:
            continue
        row = _row(part, metric, scale)
        p_best = probabilities.get(key, {}).get(row["best_rho0"], np.nan)
        scores = list(seeds.get(key, {}).values())
        fallen = collapsed(scores, metric.margin(margin, row["best"])) if scores else np.nan
        row |= {"collapsed": fallen, "p_best": p_best}
        rows.append({**dict(zip(keys, key, strict=True)), **row})
    found = pd.DataFrame(rows, columns=[*keys, *_COLUMNS])
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


def _numbers_of(table: pd.DataFrame, metric: Metric) -> dict[str, NDArray[Any]]:
    """The columns of configurations that `_row` needs."""
    guessing = metric.scores_of_guessing(table)
    return {
        **{name: table[name].to_numpy(float) for name in ("rho0", "test_mean", "test_std", "n")},
        "diverged": table["diverged"].to_numpy(),
        "missing": table[list(OPEN)].to_numpy().sum(axis=1),
        "absent": table["absent"].to_numpy(),
        "chance": np.full(len(table), np.nan) if guessing is None else guessing.to_numpy(float),
    }


def _row(part: Mapping[str, NDArray[Any]], metric: Metric, scale: Scale) -> dict[Hashable, float]:
    """The numbers of one method, set and setting that need no trials.

    Args:
        part: its rows of `_numbers_of`.
        metric: what the trials are compared by.
        scale: of rho0.
    """
    counts: dict[Hashable, float] = {
        "grid": len(np.unique(part["rho0"])),
        "diverged": part["diverged"].sum(),
        "missing": part["missing"].sum(),
        "absent": part["absent"].sum(),
        "chance": first_known(part["chance"]),
    }
    finished = part["n"] > 0
    rho0, mean, std, n = (part[name][finished] for name in ("rho0", "test_mean", "test_std", "n"))
    if not len(rho0):
        return {**dict.fromkeys(_COLUMNS, np.nan), **counts, "choices": 0}
    best, worst = int(mean.argmax()), int(mean.argmin())
    places = places_on(rho0, scale)
    on_scale = ~np.isnan(places)  # zero has no place on a logarithmic scale
    range_ = mean[best] - mean[worst]
    p, half_width = _test_range(mean, std, n)
    return {
        **counts,
        "choices": len(rho0),
        "lowest_rho0": rho0.min(),
        "highest_rho0": rho0.max(),
        "decades": span_of(rho0, scale),
        "best_rho0": rho0[best],
        "best": mean[best],
        "worst_rho0": rho0[worst],
        "worst": mean[worst],
        "range": range_,
        "relative_drop": range_ / abs(mean[best]) if mean[best] else np.nan,
        "range_upper": min(range_ + half_width, metric.span),
        "slope": slope_of(places[on_scale], mean[on_scale], n[on_scale]),
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
    near = np.abs(places[:, None] - others) <= span * (1 + _ROUNDING)
    differences = np.abs(heights[:, None] - np.interp(others, places, heights))
    return float(differences[near].max())


def slope_of(places: Floats, mean: Floats, n: Floats) -> float:
    """Least-squares slope of the score on the places of a knob, each seed with equal weight.

    Args:
        places: (choices,), on the scale of the knob, such as log10 rho0.
        mean: (choices,), mean score over the seeds of each choice.
        n: (choices,), number of seeds of each choice.

    Returns:
        The slope, such as that per decade; NaN for fewer than two different places.
    """
    if len(np.unique(places)) < 2:
        return float("nan")
    return float(np.polyfit(places, mean, 1, w=np.sqrt(n))[0])


def _test_range(mean: Floats, std: Floats, n: Floats) -> tuple[float, float]:
    """P value of an analysis of variance, and half the width of Tukey's interval of the range.

    Both are computed from means, standard deviations and counts, as published tables have no more.
    They are NaN if some rho0 has fewer than two seeds, or if means differ but no two seeds do.
    """
    degrees = float((n - 1).sum())
    choices = len(mean)
    if choices < 2 or (n < 2).any():
        return float("nan"), float("nan")
    best, worst = int(mean.argmax()), int(mean.argmin())
    if (std <= ROUNDING * np.abs(mean)).all():  # such as networks that all stay at chance
        is_same = mean[best] - mean[worst] <= rounding_between(mean[best], mean[worst])
        return (1.0, 0.0) if is_same else (float("nan"), float("nan"))
    between = float((n * (mean - np.average(mean, weights=n)) ** 2).sum())
    variance = float(((n - 1) * std**2).sum()) / degrees
    p = float(stats.f.sf(between / (choices - 1) / variance, choices - 1, degrees))
    width = np.sqrt(variance / 2 * (1 / n[best] + 1 / n[worst]))
    return p, _studentized(choices, degrees) * float(width)


@cache
def _studentized(choices: int, degrees: float) -> float:
    return float(stats.studentized_range.ppf(CONFIDENCE, choices, degrees))
