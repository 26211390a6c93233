"""Verdicts: whether a method's rho0 can be left untuned."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.rounding import decades, rho0_label
from analysis.statistics.aggregate import SETTING, highest
from analysis.statistics.intervals import CONFIDENCE

MARGIN = 0.03
"""Loss by a bad rho0 up to which a method is stable: a share, see `metric.Metric.margin`."""
COLLAPSE = 10
"""A trial has collapsed if it lies this many margins below all seeds of the best rho0."""
VERDICTS: Mapping[str, str] = {
    "sensitive": "At some ρ0 a trial diverges or collapses, or the range over ρ0 exceeds the "
    "margin and is significant (p < 0.05).",
    "at chance": "No ρ0 that was tried works: no mean {label} is clearly {above} chance, or all "
    "trials diverge.",
    "unfinished": "Some trials have not finished, and the finished ones do not decide it yet.",
    "untested": "Some ρ0 has fewer than two finished seeds, or no two seeds differ, so that the "
    "range cannot be tested.",
    "noise": "The range is not significant, and its upper limit exceeds the margin. More seeds are "
    "needed for an answer.",
    "mild": "The range is significant and within the margin, but its upper limit exceeds the "
    "margin.",
    "stable": "The upper limit of the range is within the margin.",
}
"""Verdict, from the worst to the best -> the rule behind it, see `verdict_of`; `rules` fills in
the words of a metric."""


def rules(metric: Metric) -> dict[str, str]:
    """The rule behind each verdict, for the trials of a metric."""
    words = {"label": metric.label, "above": metric.above}
    return {verdict: rule.format(**words) for verdict, rule in VERDICTS.items()}


def verdict_of(row: pd.Series, margin: float) -> str:
    """The verdict on one method, set and setting: the first rule of `VERDICTS` that applies.

    Args:
        row: of `sensitivity.sensitivity`, without its verdict.
        margin: as a difference of scores.
    """
    p, range_, upper = row["p_corrected"], row["range"], row["range_upper"]
    is_significant = p < 1 - CONFIDENCE
    if row["choices"] == 0 and row["diverged"] > 0 and row["missing"] == 0:
        return "at chance"
    if row["diverged"] > 0 or row["collapsed"] > 0 or (is_significant and range_ > margin):
        return "sensitive"
    if row["best"] - row["chance"] <= min(margin, abs(row["chance"])):
        return "at chance"
    if row["missing"] > 0:
        return "unfinished"
    if np.isnan(p):
        return "untested"
    if upper <= margin:
        return "stable"
    return "mild" if is_significant else "noise"


def method_verdicts(found: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """The verdict on each method, which is that of its worst set in the order of `VERDICTS`.

    Args:
        found: result of `sensitivity.sensitivity` with values, as `metric.Metric.measured` returns.
        metric: what the trials are compared by.

    Returns:
        One row per method and setting, with the columns
            dataset, model, regime, method, verdict.
            decades: decades that the widest grid of rho0 spans.
            range: largest range of the mean test value over rho0.
            at: set, and values of further axes, of the largest range.
            equal_span_decades, equal_span_range: largest range over an equal number of decades, see
                `sensitivity.sensitivity`.
            reason: the numbers behind the verdict, in sentences.
    """
    rows = []
    order, further = list(VERDICTS), axis_columns(found)
    for key, part in found.groupby([*SETTING, "method"], sort=False):
        widest = highest(part, "range")
        axes = [
            f"{name.removeprefix(AXIS_PREFIX)}={value}"
            for name in further
            if (value := widest[name])
        ]
        where = ", ".join(filter(None, [widest["set"], *axes]))
        rows.append(
            {
                **dict(zip([*SETTING, "method"], key, strict=True)),
                "verdict": min(part["verdict"], key=order.index),
                "decades": part["decades"].max(),
                "range": widest["range"],
                "at": where,
                "equal_span_decades": widest["equal_span_decades"],
                "equal_span_range": part["equal_span_range"].max(),
                "reason": " ".join(
                    filter(
                        None,
                        [
                            _range(widest, where, metric),
                            _grid(part, metric),
                            _ended(part),
                            _by_set(part),
                        ],
                    )
                ),
            }
        )
    columns = [*SETTING, "method", "verdict", "decades", "range", "at", "equal_span_decades"]
    columns += ["equal_span_range", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _range(widest: pd.Series, where: str, metric: Metric) -> str:
    """The largest range over rho0: how far the metric changes, and on which set."""
    if widest["choices"] < 2:
        return "Fewer than two ρ0 have a finished trial."
    upper = widest["range_upper"]
    limit = "" if np.isnan(upper) else f" (at most {metric.text(upper, fewer=1)} at 95 %)"
    return (
        f"Test {metric.label} changes by up to "
        f"{metric.shown_difference(widest['range'], fewer=1)}{limit} over ρ0"
        f"{f' on {where}' if where else ''}, and is {metric.shown(widest['best'], fewer=1)} at "
        "the best ρ0."
    )


def _grid(part: pd.DataFrame, metric: Metric) -> str:
    """How many rho0 have finished trials, which decades they span, and the range over fewer."""
    if not part["choices"].any():
        return ""
    low, high = part["lowest_rho0"].min(), part["highest_rho0"].max()
    text = (
        f"{_span(part['choices'])} of {_span(part['grid'])} ρ0 have finished trials, "
        f"from {rho0_label(low)} to {rho0_label(high)}"
    )
    widest, equal = part["decades"].max(), part["equal_span_decades"].min()
    if np.isnan(widest):
        return f"{text}."
    text += f" ({decades(widest)} decades)."
    if decades(equal) != decades(widest):
        text += (
            f" Over any {decades(equal)} decades, the span of the setting's narrowest grid, it "
            f"changes by up to {metric.shown_difference(part['equal_span_range'].max(), fewer=1)}."
        )
    return text


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _ended(part: pd.DataFrame) -> str:
    """How many trials diverged, collapsed, or have not finished."""
    counts = part[["diverged", "collapsed", "missing"]].sum()
    ends = {"diverged": "diverged", "collapsed": "collapsed", "missing": "have not finished"}
    texts = [
        f"{count:.0f} trial{'s' if count > 1 else ''} "
        + (ends[str(name)] if count > 1 else ends[str(name)].replace("have", "has"))
        for name, count in counts.items()
        if count
    ]
    return f"{'; '.join(texts)}." if texts else ""


def _by_set(part: pd.DataFrame) -> str:
    """How many sets have each verdict, if there are several."""
    if len(part) < 2:
        return ""
    counted = part["verdict"].value_counts()
    axes = "".join(f" and {name.removeprefix('axis.')}" for name in axis_columns(part))
    counts = ", ".join(f"{counted[kind]} {kind}" for kind in VERDICTS if kind in counted)
    return f"Verdicts by set{axes}: {counts}."
