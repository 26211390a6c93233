"""Verdicts on the knobs of whole methods."""

import pandas as pd

from analysis.knob_effects.effects import RENAMED
from analysis.knobs.knob import Knob
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import SETTING
from analysis.statistics.method_verdicts import method_verdicts
from analysis.statistics.verdicts import MARGIN


def knob_verdicts(
    effects: pd.DataFrame, metric: Metric = ACCURACY, *, margin: float = MARGIN
) -> pd.DataFrame:
    """The verdict on each knob of each method: that of its worst set, as for rho0.

    Args:
        effects: result of `effects.knob_effects` with values, as `metric.Metric.measured` returns.
        metric: what the trials are compared by.
        margin: see `metric.Metric.margin`.

    Returns:
        One row per method, setting and knob, with the columns of `method_verdicts.method_verdicts`.
        Those that have rho0 or decades in their names are called lowest, highest, span, least_span
        and equal_span here. Further columns are
            knob, scale: name and scale of the knob.
            low, high: its range; missing if the method has none.
            covered: the smallest share of the range that was tried on a set.
            mean_regret: the largest `mean_regret` of a set.
    """
    if effects.empty:
        return pd.DataFrame()
    back = {new: old for old, new in RENAMED.items()}
    keys = [*SETTING, "method", "knob"]
    parts = []
    for name, part in effects.groupby("knob", sort=False):
        of = part.rename(columns=back).drop(columns="knob")
        shown = f"values of {Knob(name=str(name)).shown}"
        parts.append(method_verdicts(of, metric, margin=margin, knob=shown).assign(knob=name))
    found = pd.concat(parts, ignore_index=True)
    found = found.rename(columns={**RENAMED, "least_decades": "least_span"})
    groups = effects.groupby(keys, sort=False)
    further = pd.DataFrame(
        {
            **{name: groups[name].first() for name in ("scale", "low", "high")},
            "covered": groups["covered"].min(),
            "mean_regret": groups["mean_regret"].max(),
        }
    ).reset_index()
    found = further.merge(found, on=keys)  # in the order of the effects
    first = [*SETTING, "method", "knob", "scale", "low", "high"]
    return found[[*first, *(name for name in found.columns if name not in first)]]
