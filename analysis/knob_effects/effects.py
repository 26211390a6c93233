"""The effect of each knob alone: range, slope, regret and verdict, as `rho0` has them."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from analysis.knob_effects.settings import KnobSettings
from analysis.knobs.knob import Knob
from analysis.knobs.scales import places_on, span_of
from analysis.metric import ACCURACY, Metric
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
                the span (uniformly on the scale of the knob; of the values on a nominal one). In
                between, the score is interpolated linearly.
            retuned_range: the range over this knob if the other knobs are chosen anew for each of
                its values; missing without other knobs.
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
    retuned = _retuned_ranges(settings, knob)
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
                "mean_regret": _mean_regret(part, knob),
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


def _mean_regret(part: pd.DataFrame, knob: Knob) -> float:
    """The mean distance from the best score over the span of the finished values.

    Args:
        part: configurations that differ in the knob, whose values are in the column rho0.
        knob: the knob.
    """
    part = part[part["n"] > 0]
    scores = part["test_mean"].to_numpy(float)
    if not len(scores):
        return float("nan")
    distances = scores.max() - scores
    if knob.scale == "nominal":
        return float(distances.mean())
    places = places_on(part["rho0"].to_numpy(float), knob.scale)
    on_scale = np.flatnonzero(~np.isnan(places))
    order = on_scale[np.argsort(places[on_scale])]
    if len(order) < 2:
        return float("nan")
    places, distances = places[order], distances[order]
    return float(np.trapezoid(distances, places) / (places[-1] - places[0]))


def _retuned_ranges(settings: KnobSettings, knob: Knob) -> dict[Hashable, float]:
    """Family -> range of the mean test score over a knob, the others chosen anew for each value."""
    others = [settings.value(other) for other in settings.knobs if other != knob]
    value, keys = settings.value(knob), settings.families
    table = settings.table[settings.table[value].notna()]
    for one in settings.knobs:
        table = table[settings.is_within(table, one)]
    if table.empty or not others:
        return {}
    varies = table.groupby(keys, sort=False)[others].nunique().gt(1).any(axis=1)
    means = select(table, settings.select_on, [*keys, value]).groupby(keys)["test_mean"]
    ranges = (means.max() - means.min()).where(means.count() > 1)
    return {key: ranges[key] for key in varies.index[varies] if key in ranges}
