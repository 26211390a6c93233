"""The effect of each knob alone: range, slope, regret and verdict, as `rho0` has them."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.knob_effects.settings import KnobSettings
from analysis.knobs.knob import Knob
from analysis.knobs.scales import places_on, span_of
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import first_known, places_by
from analysis.statistics.regrets import regrets
from analysis.statistics.selection import select
from analysis.statistics.sensitivity import sensitivity, with_verdicts
from analysis.statistics.verdicts import MARGIN

RENAMED = {
    "lowest_rho0": "lowest",
    "highest_rho0": "highest",
    "decades": "span",
    "best_rho0": "best_at",
    "worst_rho0": "worst_at",
    "equal_span_decades": "equal_span",
}
"""Columns of `sensitivity.sensitivity` -> those of `knob_effects`."""


def knob_effects(
    settings: KnobSettings, metric: Metric = ACCURACY, *, margin: float = MARGIN
) -> pd.DataFrame:
    """How the mean test score depends on each knob, while the other knobs keep their chosen values.

    Args:
        settings: the configurations, with their knobs.
        metric: what the trials are compared by.
        margin: see `sensitivity.sensitivity`.

    Returns:
        One row for each method, set, setting and knob with at least two values in its range. The
        columns are the keys of `KnobSettings.families`, and those of `sensitivity.sensitivity`
        with other names where these have rho0 or decades, for the values in the range of the knob.
        The p values are corrected for all rows together. Further columns are
            knob, scale: name and scale of the knob.
            low, high: its range; missing if the method has none.
            outside: number of values of the knob that are outside the range.
            lowest, highest: least and greatest of the values with a finished trial; missing on a
                nominal scale.
            span: their distance: decades, or the difference on a linear scale.
            covered: span as a share of that from low to high; missing without a range.
            slope: of the score, per decade or per unit.
            best_at, worst_at, chosen: values as text. The chosen one has the best mean on the split
                of `KnobSettings`, together with the values of the other knobs.
            equal_span, equal_span_range: the largest change of the score over any part of the span
                that is as wide as the narrowest span of this knob in the setting.
            chosen_on: the split of the choice, see `selection.select`; empty without a choice.
            chosen_regret: distance of the mean at the chosen value from the best mean.
            mean_regret: expected distance from the best mean, if the value is drawn at random from
                the values that were tried, and on a scale from the span between them (uniformly; in
                between, the score is interpolated linearly). Diverged trials count, see
                `_with_diverged`.
            retuned_range: the range over this knob if the other knobs are chosen anew for each of
                its values; missing without other knobs. Diverged trials count, too.
    """
    parts = [_of_knob(settings, knob, metric, margin) for knob in settings.knobs]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame()
    found = pd.concat(parts, ignore_index=True)
    order = settings.table[settings.families].drop_duplicates().reset_index(drop=True)
    order["place"] = order.index
    found = found.merge(order, on=settings.families, how="left")
    found = found.sort_values("place", kind="stable", ignore_index=True).drop(columns="place")
    return with_verdicts(found, metric, margin=margin)


def knob_regrets(settings: KnobSettings, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Regret of each value of each knob, while the other knobs keep their chosen values.

    Args:
        settings: the configurations, with their knobs.
        metric: what the trials are compared by.

    Returns:
        One row for each method, set, setting, knob and value with a finished trial. The columns are
        the keys of `KnobSettings.families`, knob, value (as text), n, test_mean, regret and p_best,
        see `regrets.regrets`.
    """
    parts = []
    for knob in settings.knobs:
        table, _ = settings.around_chosen([knob])
        as_rho0 = table.assign(rho0=table[settings.value(knob)])
        of = regrets(as_rho0, settings.trials_of(as_rho0), metric)
        parts.append(of.assign(knob=knob.name, value=_texts(of["rho0"], settings, knob)))
    if not parts:
        return pd.DataFrame()
    columns = [*settings.families, "knob", "value", "n", "test_mean", "regret", "p_best"]
    return pd.concat(parts, ignore_index=True)[columns]


def _of_knob(settings: KnobSettings, knob: Knob, metric: Metric, margin: float) -> pd.DataFrame:
    """The rows of one knob, with p values that are corrected for them alone."""
    keys, value = settings.families, settings.value(knob)
    table, chosen = settings.around_chosen([knob])
    table = table.assign(rho0=table[value])
    trials = settings.trials_of(table)
    found = sensitivity(table, trials, metric, margin=margin, scale=knob.scale)
    if found.empty:
        return found
    of_family = dict(iter(table.groupby(keys, sort=False)))
    beyond = settings.table[~settings.is_within(settings.table, knob)]
    outside = beyond.groupby(keys)[value].nunique().to_dict()
    regret = regrets(table, trials, metric).set_index([*keys, "rho0"])["regret"]
    of_chosen = chosen.set_index(keys)[[value, "chosen_on"]]
    retuned = _retuned_ranges(settings, knob, metric)
    rows: list[dict[Hashable, Any]] = []
    for key in found[keys].itertuples(index=False, name=None):
        own = settings.of_method[str(key[keys.index("method")]), knob.name]
        part = of_family[key]
        at, split = of_chosen.loc[key]
        rows.append(
            {
                "knob": knob.name,
                "scale": knob.scale,
                "low": np.nan if own.low is None else own.low,
                "high": np.nan if own.high is None else own.high,
                "outside": outside.get(key, 0),
                "chosen": at,
                "chosen_on": split if isinstance(split, str) else "",
                "chosen_regret": regret.get((*key, at), np.nan),
                "mean_regret": _mean_regret(part, knob, metric),
                "retuned_range": retuned.get(key, np.nan),
            }
        )
    found = found.assign(**pd.DataFrame(rows)).rename(columns=RENAMED)
    texts = {
        name: _texts(found[name], settings, knob) for name in ("best_at", "worst_at", "chosen")
    }
    if knob.scale == "nominal":
        found = found.assign(lowest=np.nan, highest=np.nan)
    return found.assign(covered=_covered(found, knob), **texts)


def _texts(values: pd.Series, settings: KnobSettings, knob: Knob) -> pd.Series:
    """The values of a knob as text; empty for missing ones."""
    pairs = settings.table[[settings.value(knob), settings.label(knob)]].dropna()
    labels = dict(pairs.itertuples(index=False, name=None))
    return values.map(labels).fillna("")


def _covered(found: pd.DataFrame, knob: Knob) -> pd.Series:
    """The share of its range that the finished values of a knob span."""
    ends = found[["low", "high"]].to_numpy(float)
    whole = pd.Series(
        [span_of(pair, knob.scale) if np.isfinite(pair).all() else np.nan for pair in ends]
    )
    return found["span"] / whole


def _with_diverged(part: pd.DataFrame, metric: Metric) -> NDArray[np.float64]:
    """The mean test score of each configuration of a family over all trials that have a result.

    A trial that diverged has the score of guessing, as for `tuning_cost` and `across_settings`, but
    none above the worst mean of a finished configuration: it must not make a value look better.

    Args:
        part: configurations of a method, set and setting.
        metric: what the trials are compared by.

    Returns:
        (configurations,), NaN without a result, and where trials diverged if the score of guessing
        is unknown.
    """
    n, diverged, mean = (part[name].to_numpy(float) for name in ("n", "diverged", "test_mean"))
    guess = metric.scores_of_guessing(part)
    lowest = np.nan if guess is None else first_known(guess)
    if (n > 0).any():
        lowest = min(lowest, mean[n > 0].min())
    total = np.where(n > 0, n * mean, 0) + np.where(diverged > 0, diverged * lowest, 0)
    return total / np.where(n + diverged > 0, n + diverged, np.nan)


def _mean_regret(part: pd.DataFrame, knob: Knob, metric: Metric) -> float:
    """The mean distance from the best score over the span of the values that have a result.

    Args:
        part: configurations that differ in the knob, whose values are in the column rho0.
        knob: the knob.
        metric: what the trials are compared by.
    """
    if not (part["n"] > 0).any():
        return float("nan")
    best = part["test_mean"].max()
    has_result = (part["n"] + part["diverged"] > 0).to_numpy()
    distances = best - _with_diverged(part, metric)[has_result]
    part = part[has_result]
    if knob.scale == "nominal":
        return float(distances.mean())
    places = places_on(part["rho0"].to_numpy(float), knob.scale)
    on_scale = np.flatnonzero(~np.isnan(places))
    order = on_scale[np.argsort(places[on_scale])]
    if len(order) < 2:
        return float("nan")
    places, distances = places[order], distances[order]
    return float(np.trapezoid(distances, places) / (places[-1] - places[0]))


def _retuned_ranges(settings: KnobSettings, knob: Knob, metric: Metric) -> dict[Hashable, float]:
    """Family -> range of the mean test score over a knob, the others chosen anew for each value."""
    others = [settings.value(other) for other in settings.knobs if other != knob]
    value, keys = settings.value(knob), settings.families
    table = settings.table[settings.table[value].notna()]
    for one in settings.knobs:
        table = table[settings.is_within(table, one)]
    if table.empty or not others:
        return {}
    ranges: dict[Hashable, float] = {}
    for key, places in places_by(table, keys):
        part = table.iloc[places]
        if not part[others].nunique().gt(1).any():
            continue
        part = part.assign(score=_with_diverged(part, metric))
        chosen = select(part, settings.select_on, [value])
        failed = part[(part["diverged"] > 0) & ~part[value].isin(chosen[value])]
        scores = pd.concat([chosen, failed.drop_duplicates(value)])["score"].to_numpy(float)
        if len(chosen) and len(scores) > 1:
            ranges[key] = float(np.ptp(scores))
    return ranges
